// Package gatewright_plugin_types is the contract's interface `types`, as the bindings of a component have it.
package gatewright_plugin_types

import wit "gatewright/internal/wit/types"

type Section = uint8

const (
	Section_RequestHeaders Section = iota
	Section_RequestTrailers
	Section_ResponseHeaders
	Section_ResponseTrailers
)

type Direction = uint8

const (
	Direction_Request Direction = iota
	Direction_Response
)

type BodyMode = uint8

const (
	BodyMode_Skip BodyMode = iota
	BodyMode_Whole
	BodyMode_Chunks
)

const (
	MutateError_InvalidSyntax uint8 = iota
	MutateError_Forbidden
	MutateError_LimitExceeded
	MutateError_WrongPhase
	MutateError_NotGranted
	MutateError_Other
)

type MutateError struct {
	tag   uint8
	other string
}

func (e MutateError) Tag() uint8    { return e.tag }
func (e MutateError) Other() string { return e.other }

func MakeMutateErrorInvalidSyntax() MutateError { return MutateError{tag: MutateError_InvalidSyntax} }
func MakeMutateErrorForbidden() MutateError     { return MutateError{tag: MutateError_Forbidden} }
func MakeMutateErrorLimitExceeded() MutateError { return MutateError{tag: MutateError_LimitExceeded} }
func MakeMutateErrorWrongPhase() MutateError    { return MutateError{tag: MutateError_WrongPhase} }
func MakeMutateErrorNotGranted() MutateError    { return MutateError{tag: MutateError_NotGranted} }
func MakeMutateErrorOther(why string) MutateError {
	return MutateError{tag: MutateError_Other, other: why}
}

type Caller struct{ Subject, Claims string }

type LocalResponse struct {
	Status  uint16
	Headers []wit.Tuple2[string, string]
	Body    []uint8
}

const (
	Decision_Proceed uint8 = iota
	Decision_Respond
	Decision_Abort
)

type Decision struct {
	tag      uint8
	response LocalResponse
}

func (d Decision) Tag() uint8             { return d.tag }
func (d Decision) Respond() LocalResponse { return d.response }

func MakeDecisionProceed() Decision { return Decision{tag: Decision_Proceed} }
func MakeDecisionAbort() Decision   { return Decision{tag: Decision_Abort} }
func MakeDecisionRespond(response LocalResponse) Decision {
	return Decision{Decision_Respond, response}
}

const (
	BodyDecision_Pass uint8 = iota
	BodyDecision_Hold
	BodyDecision_Replace
	BodyDecision_Respond
	BodyDecision_Abort
)

type BodyDecision struct {
	tag      uint8
	body     []uint8
	response LocalResponse
}

func (d BodyDecision) Tag() uint8             { return d.tag }
func (d BodyDecision) Replace() []uint8       { return d.body }
func (d BodyDecision) Respond() LocalResponse { return d.response }

func MakeBodyDecisionPass() BodyDecision  { return BodyDecision{tag: BodyDecision_Pass} }
func MakeBodyDecisionHold() BodyDecision  { return BodyDecision{tag: BodyDecision_Hold} }
func MakeBodyDecisionAbort() BodyDecision { return BodyDecision{tag: BodyDecision_Abort} }
func MakeBodyDecisionReplace(body []uint8) BodyDecision {
	return BodyDecision{tag: BodyDecision_Replace, body: body}
}
func MakeBodyDecisionRespond(response LocalResponse) BodyDecision {
	return BodyDecision{tag: BodyDecision_Respond, response: response}
}
