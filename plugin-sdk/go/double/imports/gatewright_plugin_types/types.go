// Package gatewright_plugin_types is the contract's interface `types`, as in the bindings of a component.
package gatewright_plugin_types

import (
	wit "gatewright/internal/wit/types"
	"gatewright/wit/variant"
)

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

type MutateError struct{ variant.Case }

func (e MutateError) Other() string { return variant.As[string](e.Case, MutateError_Other) }

func MakeMutateErrorInvalidSyntax() MutateError   { return refusal(MutateError_InvalidSyntax, nil) }
func MakeMutateErrorForbidden() MutateError       { return refusal(MutateError_Forbidden, nil) }
func MakeMutateErrorLimitExceeded() MutateError   { return refusal(MutateError_LimitExceeded, nil) }
func MakeMutateErrorWrongPhase() MutateError      { return refusal(MutateError_WrongPhase, nil) }
func MakeMutateErrorNotGranted() MutateError      { return refusal(MutateError_NotGranted, nil) }
func MakeMutateErrorOther(why string) MutateError { return refusal(MutateError_Other, why) }
func refusal(tag uint8, value any) MutateError    { return MutateError{variant.Of(tag, value)} }

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

type Decision struct{ variant.Case }

func (d Decision) Respond() LocalResponse { return variant.As[LocalResponse](d.Case, Decision_Respond) }

func MakeDecisionProceed() Decision { return Decision{variant.Of(Decision_Proceed, nil)} }
func MakeDecisionAbort() Decision   { return Decision{variant.Of(Decision_Abort, nil)} }
func MakeDecisionRespond(response LocalResponse) Decision {
	return Decision{variant.Of(Decision_Respond, response)}
}

const (
	BodyDecision_Pass uint8 = iota
	BodyDecision_Hold
	BodyDecision_Replace
	BodyDecision_Respond
	BodyDecision_Abort
)

type BodyDecision struct{ variant.Case }

func (d BodyDecision) Replace() []uint8 { return variant.As[[]uint8](d.Case, BodyDecision_Replace) }
func (d BodyDecision) Respond() LocalResponse {
	return variant.As[LocalResponse](d.Case, BodyDecision_Respond)
}

func MakeBodyDecisionPass() BodyDecision  { return BodyDecision{variant.Of(BodyDecision_Pass, nil)} }
func MakeBodyDecisionHold() BodyDecision  { return BodyDecision{variant.Of(BodyDecision_Hold, nil)} }
func MakeBodyDecisionAbort() BodyDecision { return BodyDecision{variant.Of(BodyDecision_Abort, nil)} }
func MakeBodyDecisionReplace(body []uint8) BodyDecision {
	return BodyDecision{variant.Of(BodyDecision_Replace, body)}
}
func MakeBodyDecisionRespond(response LocalResponse) BodyDecision {
	return BodyDecision{variant.Of(BodyDecision_Respond, response)}
}
