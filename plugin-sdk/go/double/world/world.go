// Package world is the state of the gateway's double: the exchange that the hook is about, and everything that the
// plugin can use. Tests arrange it with the package gatewrighttest; the packages in imports give the plugin access to
// it.
package world

import (
	"slices"
	"strings"
	"time"

	wit "gatewright/internal/wit/types"
	contract "gatewright/wit/imports/gatewright_plugin_types"
)

// World is one gateway with at most one exchange.
type World struct {
	Exchange  *Exchange
	Now       time.Time
	Monotonic time.Duration
	Lines     []Line
	Measures  []Measure
	Entries   map[string]Entry
	Buckets   map[string]Bucket
	Calls     []Call
	// By name; nil for an upstream that was granted and does not answer.
	Upstreams map[string]func(Call) (Answer, bool)
	version   uint64
}

// Exchange is one request and its response.
type Exchange struct {
	Method, Scheme, Authority, Path string
	Status                          uint16
	// By contract.Section.
	Headers    [4][]Field
	Attributes map[string]string
	Identity   *contract.Caller
	Upstream   string
	State      []byte
	// By contract.Direction.
	BodyModes [2]contract.BodyMode
	// Attributes that the plugin set.
	Own map[string]string
	// Changes to the response's headers that the request hook left.
	later []func()
}

type Field struct{ Name, Value string }

// Line is a line of the log.
type Line struct {
	Level   uint8
	Message string
	Fields  []Field
}

// Measure is one recorded value of a metric.
type Measure struct {
	Name   string
	Labels []string
	Value  float64
}

// Entry is an entry of the shared store.
type Entry struct {
	Value   []byte
	Version uint64
	// Zero for no expiry.
	Ends time.Duration
}

// Bucket is one of the limiter's: how full it is, and since when.
type Bucket struct {
	Level float64
	Since time.Duration
}

// Call is a call to an upstream.
type Call struct {
	Upstream, Method, Path string
	Headers                []Field
	Body                   []byte
}

// Answer is the response of an upstream.
type Answer struct {
	Status  uint16
	Headers []Field
	Body    []byte
}

// Here is the world of the running test.
var Here *World

// Get is the world of the running test.
func Get() *World {
	if Here == nil {
		panic("there is no gateway: make one with gatewrighttest.New")
	}
	return Here
}

// Ex is the exchange of the running hook.
func Ex() *Exchange {
	if exchange := Get().Exchange; exchange != nil {
		return exchange
	}
	panic("the exchange was asked for outside of a hook that has one; in the gateway that is a trap")
}

// Version is one that no entry has had.
func (w *World) Version() uint64 {
	w.version++
	return w.version
}

// Entry is the current entry of a key.
func (w *World) Entry(key string) (Entry, bool) {
	entry, is := w.Entries[key]
	return entry, is && (entry.Ends == 0 || w.Monotonic < entry.Ends)
}

// Values are all values of a field.
func (e *Exchange) Values(section contract.Section, name string) []string {
	var values []string
	for _, field := range e.Headers[section] {
		if strings.EqualFold(field.Name, name) {
			values = append(values, field.Value)
		}
	}
	return values
}

// Change changes a header block, if the gateway would allow it.
func (e *Exchange) Change(section contract.Section, name string, values []string, keep bool) Changed {
	name = strings.ToLower(name)
	switch {
	case !IsToken(name) || slices.ContainsFunc(values, isBroken):
		return Refused(contract.MakeMutateErrorInvalidSyntax())
	case slices.Contains(reserved, name):
		return Refused(contract.MakeMutateErrorForbidden())
	case section == contract.Section_RequestHeaders && e.Status != 0:
		return TooLate()
	}
	change := func() { e.change(section, name, values, keep) }
	if section >= contract.Section_ResponseHeaders && e.Status == 0 {
		e.later = append(e.later, change)
	} else {
		change()
	}
	return Made
}

func (e *Exchange) change(section contract.Section, name string, values []string, keep bool) {
	if !keep {
		e.Headers[section] = slices.DeleteFunc(e.Headers[section], func(field Field) bool { return field.Name == name })
	}
	for _, value := range values {
		// A later parser would cut off spaces at the ends.
		e.Headers[section] = append(e.Headers[section], Field{name, strings.Trim(value, " \t")})
	}
}

// Respond begins the response, and applies the changes that the request hook left for it.
func (e *Exchange) Respond(status uint16, headers []Field) {
	e.Status, e.Headers[contract.Section_ResponseHeaders] = status, headers
	for _, change := range e.later {
		change()
	}
	e.later = nil
}

// Changed is the result of a change.
type Changed = wit.Result[wit.Unit, contract.MutateError]

// Made is the result of a change that was made.
var Made = wit.Ok[wit.Unit, contract.MutateError](wit.Unit{})

// When makes the change if it is valid, and refuses it otherwise.
func When(valid bool, change func()) Changed {
	if !valid {
		return Refused(contract.MakeMutateErrorInvalidSyntax())
	}
	change()
	return Made
}

// TooLate refuses a change to something that is over, or has not begun.
func TooLate() Changed { return Refused(contract.MakeMutateErrorWrongPhase()) }

// Refused is the result of a change that was not made.
func Refused(why contract.MutateError) Changed { return wit.Err[wit.Unit](why) }

// IsToken is whether a text is a token in HTTP: a method, or the name of a field.
func IsToken(text string) bool {
	is := func(c rune) bool {
		return c < 128 && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	}
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool { return !is(c) })
}

func isBroken(value string) bool {
	return strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

// Fields reserved for the gateway: framing, and hop-by-hop fields.
var reserved = []string{
	"connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade",
}
