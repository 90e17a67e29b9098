// Package gatewright is for gateway plugins in Go. A plugin is a type with a method for each of its hooks, and a
// variable that describes it:
//
//	package plugin
//
//	import "gatewright"
//
//	type config struct {
//		Word string `json:"word"`
//	}
//
//	type door struct{ word string }
//
//	var Plugin = gatewright.Define(gatewright.Manifest{Name: "door", Version: "1.0.0"}, newDoor)
//
//	func newDoor(c config) (*door, error) { return &door{c.Word}, nil }
//
//	func (d *door) OnRequest(ex gatewright.Exchange, endOfStream bool) (gatewright.Decision, error) {
//		if word, _ := ex.Request.Headers.Get("x-word"); word != d.word {
//			return gatewright.Problem(403, "Forbidden", "the door stays shut"), nil
//		}
//		return gatewright.Proceed(), nil
//	}
//
// The world in wit/world.wit says which hooks are exported. If an exported hook is not written, the plugin does not
// compile; if a written hook is not exported, the plugin is refused when it is configured.
//
// The packages beside this one (log, httpclient, store, ratelimit, metrics, clock) are the rest of what the gateway
// offers; anything they lack is in gatewright/wit/imports, as `gatewright plugin build` generates it.
//
// # Instances
//
// The gateway runs a plugin in instances, each with its own memory and configured once. With the isolation `shared`
// (the default) an instance serves one hook after another, never two at once: fields of the plugin need no lock, live
// from one exchange to the next, and are not seen by other instances. With `request` every exchange has a fresh
// instance. Keep data of one exchange in its state (Exchange.State), and data that all instances share in the package
// store.
//
// # Goroutines
//
// A goroutine runs only while a hook runs: it stops when the hook returns and continues in the next hook, which is
// about another exchange. So wait for all goroutines that a hook starts before it returns. Calls to the gateway do not
// let others run, and time.Sleep does not wait; a hook that would wait for ever ends as a failure.
//
// # Memory
//
// Go's collector runs within hooks, whenever as much as the heap's size (at least 4 MiB) was allocated since it last
// ran, and an instance keeps its memory until it is dropped: some 2 MB at first, 6 to 10 MB after much traffic. Both
// are part of the cost of a hook; work in the function given to Define is done only once.
package gatewright

import (
	"encoding/json"
)

// Manifest is a plugin's description of itself.
type Manifest struct {
	// For people.
	Name    string `json:"name"`
	Version string `json:"version"`
	// JSON Schema of the configuration: the gateway checks against it and points at the mistake. Without one every
	// configuration is accepted.
	ConfigSchema json.RawMessage `json:"config-schema,omitempty"`
	// The metrics that it writes (package metrics).
	Metrics []Metric `json:"metrics,omitempty"`
}

// Metric declares one metric.
type Metric struct {
	Name string `json:"name"`
	// "counter", "gauge" or "histogram".
	Kind   string   `json:"kind"`
	Help   string   `json:"help,omitempty"`
	Labels []string `json:"labels,omitempty"`
}

// RequestHook sees the head of a request.
//
// An error, of this or any other hook, is logged and ends the hook as a failure: the operator's `on_error` decides
// about the request. So does a panic.
type RequestHook interface {
	OnRequest(ex Exchange, endOfStream bool) (Decision, error)
}

// RequestBodyHook sees the body of a request, if Request.ReadBody asked for it.
type RequestBodyHook interface {
	OnRequestBody(ex Exchange, chunk []byte, endOfStream bool) (BodyDecision, error)
}

// ResponseHook sees the head of a response.
type ResponseHook interface {
	OnResponse(ex Exchange, endOfStream bool) (Decision, error)
}

// ResponseBodyHook sees the body of a response, if Response.ReadBody asked for it.
type ResponseBodyHook interface {
	OnResponseBody(ex Exchange, chunk []byte, endOfStream bool) (BodyDecision, error)
}

// CompletionHook is called when an exchange has ended. It cannot change anything.
type CompletionHook interface {
	OnComplete(ex Exchange) error
}

// Background runs off the request path, in an instance of its own, without an exchange.
type Background interface {
	// OnTick returns the milliseconds until the next call; 0 for no further call.
	OnTick() (uint32, error)
}

// Definition is a plugin with its configuration C.
type Definition[C, P any] struct {
	manifest  Manifest
	configure func(C) (P, error)
	plugin    P
}

// Define describes a plugin. `configure` makes the plugin from its configuration, once for each instance and before any
// hook; an error refuses the configuration with its text.
func Define[C, P any](manifest Manifest, configure func(C) (P, error)) *Definition[C, P] {
	return &Definition[C, P]{manifest: manifest, configure: configure}
}

// Manifest is the manifest given to Define.
func (d *Definition[C, P]) Manifest() Manifest { return d.manifest }

// Configure makes the plugin from its configuration, in JSON.
func (d *Definition[C, P]) Configure(config string) error {
	var parsed C
	if config != "" {
		if err := json.Unmarshal([]byte(config), &parsed); err != nil {
			return err
		}
	}
	plugin, err := d.configure(parsed)
	d.plugin = plugin
	return err
}

// Plugin is the plugin, once it is configured.
func (d *Definition[C, P]) Plugin() P { return d.plugin }
