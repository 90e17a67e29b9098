// Package gatewright_plugin_http_client is the contract's interface `http-client`: the test answers instead of
// upstreams.
package gatewright_plugin_http_client

import (
	wit "gatewright/internal/wit/types"
	"gatewright/wit/variant"
	"gatewright/wit/world"
)

type Request struct {
	Upstream, Method, Path string
	Headers                []wit.Tuple2[string, string]
	Body                   []uint8
	TimeoutMs              uint32
}

type Response struct {
	Status  uint16
	Headers []wit.Tuple2[string, []uint8]
	Body    []uint8
}

const (
	CallError_UnknownUpstream uint8 = iota
	CallError_TimedOut
	CallError_ConnectionFailed
	CallError_ResponseTooLarge
	CallError_LimitExceeded
	CallError_Other
)

type CallError struct{ variant.Case }

func (e CallError) ConnectionFailed() string {
	return variant.As[string](e.Case, CallError_ConnectionFailed)
}
func (e CallError) Other() string { return variant.As[string](e.Case, CallError_Other) }

func Send(request Request) wit.Result[Response, CallError] {
	here := world.Get()
	call := world.Call{Upstream: request.Upstream, Method: request.Method, Path: request.Path, Body: request.Body}
	for _, field := range request.Headers {
		call.Headers = append(call.Headers, world.Field{Name: field.F0, Value: field.F1})
	}
	here.Calls = append(here.Calls, call)
	answers, granted := here.Upstreams[request.Upstream]
	if !granted {
		return wit.Err[Response](CallError{variant.Of(CallError_UnknownUpstream, nil)})
	}
	if answers != nil {
		if answer, is := answers(call); is {
			response := Response{Status: answer.Status, Body: answer.Body}
			for _, field := range answer.Headers {
				pair := wit.Tuple2[string, []uint8]{F0: field.Name, F1: []uint8(field.Value)}
				response.Headers = append(response.Headers, pair)
			}
			return wit.Ok[Response, CallError](response)
		}
	}
	return wit.Err[Response](CallError{variant.Of(CallError_ConnectionFailed, "the upstream gave no answer")})
}

func SendAll(requests []Request) []wit.Result[Response, CallError] {
	results := make([]wit.Result[Response, CallError], len(requests))
	for i, request := range requests {
		results[i] = Send(request)
	}
	return results
}

func Dispatch(request Request) wit.Result[wit.Unit, CallError] {
	if result := Send(request); result.IsErr() && result.Err().Tag() == CallError_UnknownUpstream {
		return wit.Err[wit.Unit](result.Err())
	}
	return wit.Ok[wit.Unit, CallError](wit.Unit{})
}
