package gatewrighttest

import (
	"encoding/json"
	"maps"
	"strings"

	"gatewright"
	contract "gatewright/wit/imports/gatewright_plugin_types"
	"gatewright/wit/world"
)

// Call is a call that the plugin made to an upstream.
type Call struct {
	Upstream, Method, Path string
	Headers                []gatewright.Field
	Body                   []byte
}

// Line is a line of the plugin's log. Level is "trace", "debug", "info", "warn" or "error".
type Line struct {
	Level, Message string
	Fields         []gatewright.Field
}

// Measure is one value that the plugin recorded in a metric.
type Measure struct {
	Name   string
	Labels []string
	Value  float64
}

// Method, Authority and Path are those sent on to the upstream.
func (g *Gateway) Method() string    { return world.Ex().Method }
func (g *Gateway) Authority() string { return world.Ex().Authority }
func (g *Gateway) Path() string      { return world.Ex().Path }

// Status is the one sent on to the client; 0 before there is a response.
func (g *Gateway) Status() uint16 { return world.Ex().Status }

// Chosen is the upstream that the plugin has chosen.
func (g *Gateway) Chosen() string { return world.Ex().Upstream }

// RequestHeader is the header sent on to the upstream: all values, joined with commas, and whether there are any.
func (g *Gateway) RequestHeader(name string) (string, bool) {
	return joined(world.Ex().Values(contract.Section_RequestHeaders, name))
}

// ResponseHeader is the header sent on to the client.
func (g *Gateway) ResponseHeader(name string) (string, bool) {
	return joined(world.Ex().Values(contract.Section_ResponseHeaders, name))
}

// Identity is the authenticated caller, if any.
func (g *Gateway) Identity() (gatewright.Identity, bool) {
	caller := world.Ex().Identity
	if caller == nil {
		return gatewright.Identity{}, false
	}
	return gatewright.Identity{Subject: caller.Subject, Claims: json.RawMessage(caller.Claims)}, true
}

// Attributes are those that the plugin has set, by the names that it used.
func (g *Gateway) Attributes() map[string]string { return maps.Clone(world.Ex().Own) }

// Calls are all calls made, in order.
func (g *Gateway) Calls() []Call {
	var calls []Call
	for _, call := range world.Get().Calls {
		calls = append(calls, callOf(call))
	}
	return calls
}

// Lines are all logged lines, in order.
func (g *Gateway) Lines() []Line {
	var lines []Line
	for _, line := range world.Get().Lines {
		lines = append(lines, Line{levels[line.Level], line.Message, fieldsOf(line.Fields)})
	}
	return lines
}

// Measures are all recorded values, in order.
func (g *Gateway) Measures() []Measure {
	var measures []Measure
	for _, measure := range world.Get().Measures {
		measures = append(measures, Measure(measure))
	}
	return measures
}

var levels = [...]string{"trace", "debug", "info", "warn", "error"}

func joined(values []string) (string, bool) { return strings.Join(values, ", "), len(values) > 0 }

func callOf(call world.Call) Call {
	return Call{call.Upstream, call.Method, call.Path, fieldsOf(call.Headers), call.Body}
}

func fieldsOf(fields []world.Field) []gatewright.Field {
	var same []gatewright.Field
	for _, field := range fields {
		same = append(same, gatewright.Field(field))
	}
	return same
}

func fieldsTo(fields []gatewright.Field) []world.Field {
	var same []world.Field
	for _, field := range fields {
		same = append(same, world.Field{Name: strings.ToLower(field.Name), Value: field.Value})
	}
	return same
}
