package gatewright

import (
	"encoding/json"
	"errors"
	"fmt"

	wit "gatewright/internal/wit/types"
	host "gatewright/wit/imports/gatewright_plugin_exchange"
	"gatewright/wit/imports/gatewright_plugin_types"
)

// Exchange is one request and its response: the one that the running hook is about. Every method is a call to the
// gateway, and nothing is cached. Do not keep it: after the hook the same value is about the next exchange, and outside
// of a hook a call fails.
type Exchange struct {
	Request  Request
	Response Response
}

// Request is the request of an exchange.
type Request struct{ Headers requestHeaders }

// Response is the response of an exchange.
type Response struct{ Headers responseHeaders }

// Headers is one header block.
type Headers interface {
	// Get is the first value of a field, and whether there is one.
	Get(name string) (string, bool)
	// Select is the first values of several fields in one call; nil for those that are absent.
	Select(names ...string) []*string
	// All is every field in order, with names in lower case.
	All() []Field
	Set(name, value string) error
	Append(name, value string) error
	Remove(name string) error
}

// Why the gateway refuses a change; compare with errors.Is.
var (
	// ErrInvalidSyntax: not a valid name, value, method, path or status.
	ErrInvalidSyntax = errors.New("invalid syntax")
	// ErrForbidden: a name reserved for the gateway.
	ErrForbidden = errors.New("the gateway keeps this for itself")
	// ErrLimitExceeded: too large or too many.
	ErrLimitExceeded = errors.New("a limit is exceeded")
	// ErrWrongPhase: too late or too early in the exchange.
	ErrWrongPhase = errors.New("too late or too early in the exchange")
	// ErrNotGranted: the operator did not grant it.
	ErrNotGranted = errors.New("the operator did not grant it")
)

// BodyMode is how much of a body the plugin sees.
type BodyMode = gatewright_plugin_types.BodyMode

const (
	// SkipBody is the default: the bytes pass through untouched.
	SkipBody = gatewright_plugin_types.BodyMode_Skip
	// WholeBody calls the hook once with the whole body, up to the operator's limit; the head waits for it and can
	// still be changed.
	WholeBody = gatewright_plugin_types.BodyMode_Whole
	// BodyChunks calls the hook for each chunk as it arrives.
	BodyChunks = gatewright_plugin_types.BodyMode_Chunks
)

func (Request) Method() string    { return host.Method() }
func (Request) Scheme() string    { return host.Scheme() }
func (Request) Authority() string { return host.Authority() }

// Path includes the query.
func (Request) Path() string { return host.Path() }

func (Request) SetMethod(method string) error { return changed("method", host.SetMethod(method)) }
func (Request) SetAuthority(authority string) error {
	return changed("authority", host.SetAuthority(authority))
}
func (Request) SetPath(path string) error { return changed("path", host.SetPath(path)) }

// ReadBody asks for the body.
func (Request) ReadBody(mode BodyMode) error {
	return changed("body", host.SetBodyMode(gatewright_plugin_types.Direction_Request, mode))
}

// Status is 0 before there is a response.
func (Response) Status() uint16                { return host.Status() }
func (Response) SetStatus(status uint16) error { return changed("status", host.SetStatus(status)) }

// ReadBody asks for the body.
func (Response) ReadBody(mode BodyMode) error {
	return changed("body", host.SetBodyMode(gatewright_plugin_types.Direction_Response, mode))
}

// Identity is an authenticated caller.
type Identity struct {
	Subject string
	// A JSON object.
	Claims json.RawMessage
}

// Identity is who is calling, once a plugin has authenticated the caller.
func (Exchange) Identity() (Identity, bool) {
	caller, proven := host.Identity().Get()
	return Identity{caller.Subject, json.RawMessage(caller.Claims)}, proven
}

// SetIdentity sets the caller; `claims` becomes a JSON object, and nil an empty one.
func (Exchange) SetIdentity(subject string, claims any) error {
	text := []byte("{}")
	if claims != nil {
		var err error
		if text, err = json.Marshal(claims); err != nil {
			return err
		}
	}
	caller := gatewright_plugin_types.Caller{Subject: subject, Claims: string(text)}
	return changed("identity", host.SetIdentity(caller))
}

// Attribute is an attribute of the exchange, such as "source.address" or "route.name".
func (Exchange) Attribute(name string) (string, bool) { return host.Attribute(name).Get() }

// SetAttribute sets `plugin.<this plugin>.<name>` for later plugins and the access log.
func (Exchange) SetAttribute(name, value string) error {
	return changed(name, host.SetAttribute(name, value))
}

// SetUpstream sends the request to another upstream of the route.
func (Exchange) SetUpstream(name string) error { return changed("upstream", host.SetUpstream(name)) }

// State is the bytes that this plugin keeps for this exchange, from one hook to the next.
func (Exchange) State() []byte               { return host.State() }
func (Exchange) SetState(state []byte) error { return changed("state", host.SetState(state)) }

type requestHeaders struct{}
type responseHeaders struct{}

var _, _ Headers = requestHeaders{}, responseHeaders{}

const (
	ofRequest  = gatewright_plugin_types.Section_RequestHeaders
	ofResponse = gatewright_plugin_types.Section_ResponseHeaders
)

func (requestHeaders) Get(name string) (string, bool)   { return host.Header(ofRequest, name).Get() }
func (requestHeaders) Select(names ...string) []*string { return selected(ofRequest, names) }
func (requestHeaders) All() []Field                     { return all(ofRequest) }
func (requestHeaders) Set(name, value string) error {
	return changed(name, host.SetHeader(ofRequest, name, value))
}
func (requestHeaders) Append(name, value string) error {
	return changed(name, host.AppendHeader(ofRequest, name, value))
}
func (requestHeaders) Remove(name string) error {
	return changed(name, host.RemoveHeader(ofRequest, name))
}

func (responseHeaders) Get(name string) (string, bool)   { return host.Header(ofResponse, name).Get() }
func (responseHeaders) Select(names ...string) []*string { return selected(ofResponse, names) }
func (responseHeaders) All() []Field                     { return all(ofResponse) }
func (responseHeaders) Set(name, value string) error {
	return changed(name, host.SetHeader(ofResponse, name, value))
}
func (responseHeaders) Append(name, value string) error {
	return changed(name, host.AppendHeader(ofResponse, name, value))
}
func (responseHeaders) Remove(name string) error {
	return changed(name, host.RemoveHeader(ofResponse, name))
}

func selected(section gatewright_plugin_types.Section, names []string) []*string {
	values := make([]*string, len(names))
	for i, value := range host.SelectHeaders(section, names) {
		if text, is := value.Get(); is {
			values[i] = &text
		}
	}
	return values
}

func all(section gatewright_plugin_types.Section) []Field {
	found := host.Headers(section)
	fields := make([]Field, len(found))
	for i, field := range found {
		fields[i] = Field{field.F0, string(field.F1)}
	}
	return fields
}

func changed(what string, result wit.Result[wit.Unit, gatewright_plugin_types.MutateError]) error {
	if !result.IsErr() {
		return nil
	}
	refused := result.Err()
	switch refused.Tag() {
	case gatewright_plugin_types.MutateError_InvalidSyntax:
		return fmt.Errorf("%s: %w", what, ErrInvalidSyntax)
	case gatewright_plugin_types.MutateError_Forbidden:
		return fmt.Errorf("%s: %w", what, ErrForbidden)
	case gatewright_plugin_types.MutateError_LimitExceeded:
		return fmt.Errorf("%s: %w", what, ErrLimitExceeded)
	case gatewright_plugin_types.MutateError_WrongPhase:
		return fmt.Errorf("%s: %w", what, ErrWrongPhase)
	case gatewright_plugin_types.MutateError_NotGranted:
		return fmt.Errorf("%s: %w", what, ErrNotGranted)
	default:
		return fmt.Errorf("%s: %s", what, refused.Other())
	}
}
