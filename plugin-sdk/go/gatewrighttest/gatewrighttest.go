// Package gatewrighttest replaces the gateway in tests of a plugin with `go test`: no component, no engine, nothing to
// build first. It is for a plugin's own logic; `gatewright plugin test` runs the component in the real engine.
//
//	func TestTheWordOpensTheDoor(t *testing.T) {
//		gateway := gatewrighttest.New(t)
//		door := gatewrighttest.Configure(t, Plugin, `{ "word": "sesame" }`)
//		gateway.Receive(gatewrighttest.Get("/").With("x-word", "sesame"))
//		if answer := gateway.OnRequest(door); answer != nil {
//			t.Fatal(answer)
//		}
//	}
//
// There is one gateway at a time, so tests that have one must not run in parallel. It offers what the SDK's packages
// have. The clock only moves with Advance.
package gatewrighttest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewright"
	contract "gatewright/wit/imports/gatewright_plugin_types"
	"gatewright/wit/world"
)

// Gateway is the double. Its methods are the events in a gateway, in the order that a test calls them.
type Gateway struct{ t testing.TB }

// New makes a gateway without an exchange, for as long as the test runs.
func New(t testing.TB) *Gateway {
	t.Helper()
	if world.Here != nil {
		t.Fatal("there is a gateway already: tests with one do not run in parallel")
	}
	world.Here = &world.World{
		Now:       time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC),
		Entries:   map[string]world.Entry{},
		Buckets:   map[string]world.Bucket{},
		Upstreams: map[string]func(world.Call) (world.Answer, bool){},
	}
	t.Cleanup(func() { world.Here = nil })
	return &Gateway{t}
}

// Configure makes a plugin from its configuration, and fails the test if that is refused. The gateway checks against
// the manifest's schema before; the double does not.
func Configure[C, P any](t testing.TB, definition *gatewright.Definition[C, P], config string) P {
	t.Helper()
	if err := definition.Configure(config); err != nil {
		t.Fatalf("%s: %v", config, err)
	}
	return definition.Plugin()
}

// Receive begins an exchange and forgets the previous one.
func (g *Gateway) Receive(request Request) {
	exchange := &world.Exchange{
		Method: request.Method, Scheme: "http", Authority: "gateway.test", Path: request.Path,
		Attributes: map[string]string{"source.address": "203.0.113.7", "route.name": "route"},
		Own:        map[string]string{},
	}
	for _, field := range request.headers {
		name := strings.ToLower(field.Name)
		if name == "host" {
			exchange.Authority = field.Value
			continue
		}
		exchange.Headers[contract.Section_RequestHeaders] =
			append(exchange.Headers[contract.Section_RequestHeaders], world.Field{Name: name, Value: field.Value})
	}
	for name, value := range request.attributes {
		exchange.Attributes[name] = value
	}
	if request.identity != nil {
		exchange.Identity = &contract.Caller{Subject: request.identity.Subject, Claims: string(request.identity.Claims)}
	}
	world.Get().Exchange = exchange
}

// Respond lets the upstream answer, and applies the changes to the response's headers that the request hook left.
func (g *Gateway) Respond(status uint16, headers ...gatewright.Field) {
	world.Ex().Respond(status, fieldsTo(headers))
}

// Upstream grants an upstream and answers for it; with nil it does not answer.
func (g *Gateway) Upstream(name string, answer func(Call) gatewright.Answer) {
	if answer == nil {
		world.Get().Upstreams[name] = nil
		return
	}
	world.Get().Upstreams[name] = func(call world.Call) (world.Answer, bool) {
		said := answer(callOf(call))
		return world.Answer{Status: said.Status, Headers: fieldsTo(said.Headers), Body: said.Body}, true
	}
}

// Advance moves the clock forward.
func (g *Gateway) Advance(by time.Duration) {
	here := world.Get()
	here.Now, here.Monotonic = here.Now.Add(by), here.Monotonic+by
}

// Request begins the description of a request.
type Request struct {
	Method, Path string
	headers      []gatewright.Field
	attributes   map[string]string
	identity     *gatewright.Identity
}

// Get is a request for a path.
func Get(path string) Request { return Request{Method: "GET", Path: path} }

// Post is a request with a body, which Gateway.RequestBody passes to the plugin.
func Post(path string) Request { return Request{Method: "POST", Path: path} }

// With adds a header field; `host` is the authority.
func (r Request) With(name, value string) Request {
	r.headers = append(slices.Clone(r.headers), gatewright.Field{Name: name, Value: value})
	return r
}

// WithAttribute adds an attribute, such as "source.address".
func (r Request) WithAttribute(name, value string) Request {
	attributes := map[string]string{name: value}
	for known, value := range r.attributes {
		if known != name {
			attributes[known] = value
		}
	}
	r.attributes = attributes
	return r
}

// WithIdentity sets the caller, as an earlier plugin would; `claims` is a JSON object.
func (r Request) WithIdentity(subject, claims string) Request {
	r.identity = &gatewright.Identity{Subject: subject, Claims: json.RawMessage(claims)}
	return r
}
