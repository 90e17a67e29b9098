// Package httpclient calls upstreams that the operator granted. A call looks blocking; the gateway runs other work meanwhile.
package httpclient

import (
	"errors"
	"fmt"

	"gatewright"
	wit "gatewright/internal/wit/types"
	host "gatewright/wit/imports/gatewright_plugin_http_client"
)

// Request is a call.
type Request struct {
	// A name that the operator granted, never an address.
	Upstream string
	// Default: GET.
	Method string
	// The path with the query.
	Path    string
	Headers []gatewright.Field
	Body    []byte
	// 0 means the operator's limit.
	TimeoutMS uint32
}

// Response is the upstream's response.
type Response struct {
	Status  uint16
	Headers []gatewright.Field
	Body    []byte
}

// Why there is no response; compare with errors.Is.
var (
	ErrUnknownUpstream  = errors.New("the operator granted no such upstream")
	ErrTimedOut         = errors.New("timed out")
	ErrConnectionFailed = errors.New("connection failed")
	ErrTooLarge         = errors.New("the response is too large")
	ErrLimitExceeded    = errors.New("too many calls")
)

// Get sends a GET request for a path.
func Get(upstream, path string, headers ...gatewright.Field) (Response, error) {
	return Send(Request{Upstream: upstream, Path: path, Headers: headers})
}

// Send sends a request and waits for the response.
func Send(request Request) (Response, error) {
	return received(request.Upstream, host.Send(request.host()))
}

// SendAll sends all requests at once; responses and errors are in the order of the requests.
func SendAll(requests []Request) ([]Response, []error) {
	calls := make([]host.Request, len(requests))
	for i, request := range requests {
		calls[i] = request.host()
	}
	responses, errs := make([]Response, len(requests)), make([]error, len(requests))
	for i, result := range host.SendAll(calls) {
		responses[i], errs[i] = received(requests[i].Upstream, result)
	}
	return responses, errs
}

// Dispatch sends a request and does not wait for a response.
func Dispatch(request Request) error {
	if result := host.Dispatch(request.host()); result.IsErr() {
		return failed(request.Upstream, result.Err())
	}
	return nil
}

func (r Request) host() host.Request {
	method := r.Method
	if method == "" {
		method = "GET"
	}
	headers := make([]wit.Tuple2[string, string], len(r.Headers))
	for i, field := range r.Headers {
		headers[i] = wit.Tuple2[string, string]{F0: field.Name, F1: field.Value}
	}
	return host.Request{
		Upstream: r.Upstream, Method: method, Path: r.Path, Headers: headers, Body: r.Body, TimeoutMs: r.TimeoutMS,
	}
}

func received(upstream string, result wit.Result[host.Response, host.CallError]) (Response, error) {
	if result.IsErr() {
		return Response{}, failed(upstream, result.Err())
	}
	response := result.Ok()
	headers := make([]gatewright.Field, len(response.Headers))
	for i, field := range response.Headers {
		headers[i] = gatewright.Field{Name: field.F0, Value: string(field.F1)}
	}
	return Response{response.Status, headers, response.Body}, nil
}

func failed(upstream string, err host.CallError) error {
	switch err.Tag() {
	case host.CallError_UnknownUpstream:
		return fmt.Errorf("%s: %w", upstream, ErrUnknownUpstream)
	case host.CallError_TimedOut:
		return fmt.Errorf("%s: %w", upstream, ErrTimedOut)
	case host.CallError_ConnectionFailed:
		return fmt.Errorf("%s: %w: %s", upstream, ErrConnectionFailed, err.ConnectionFailed())
	case host.CallError_ResponseTooLarge:
		return fmt.Errorf("%s: %w", upstream, ErrTooLarge)
	case host.CallError_LimitExceeded:
		return fmt.Errorf("%s: %w", upstream, ErrLimitExceeded)
	default:
		return fmt.Errorf("%s: %s", upstream, err.Other())
	}
}
