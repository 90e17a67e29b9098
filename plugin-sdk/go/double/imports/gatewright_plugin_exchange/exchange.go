// Package gatewright_plugin_exchange is the contract's interface `exchange` over the double's world.
package gatewright_plugin_exchange

import (
	"encoding/json"
	"slices"
	"strings"

	wit "gatewright/internal/wit/types"
	contract "gatewright/wit/imports/gatewright_plugin_types"
	"gatewright/wit/world"
)

type Changed = world.Changed

func Method() string    { return world.Ex().Method }
func Scheme() string    { return world.Ex().Scheme }
func Authority() string { return world.Ex().Authority }
func Path() string      { return world.Ex().Path }
func Status() uint16    { return world.Ex().Status }

func Header(section contract.Section, name string) wit.Option[string] {
	if values := world.Ex().Values(section, name); len(values) > 0 {
		return wit.Some(strings.ToValidUTF8(values[0], "\uFFFD"))
	}
	return wit.None[string]()
}

func SelectHeaders(section contract.Section, names []string) []wit.Option[string] {
	values := make([]wit.Option[string], len(names))
	for i, name := range names {
		values[i] = Header(section, name)
	}
	return values
}

func HeaderValues(section contract.Section, name string) [][]uint8 {
	var values [][]uint8
	for _, value := range world.Ex().Values(section, name) {
		values = append(values, []uint8(value))
	}
	return values
}

func Headers(section contract.Section) []wit.Tuple2[string, []uint8] {
	var fields []wit.Tuple2[string, []uint8]
	for _, field := range world.Ex().Headers[section] {
		fields = append(fields, wit.Tuple2[string, []uint8]{F0: field.Name, F1: []uint8(field.Value)})
	}
	return fields
}

func SetHeader(section contract.Section, name, value string) Changed {
	return world.Ex().Change(section, name, []string{value}, false)
}

func AppendHeader(section contract.Section, name, value string) Changed {
	return world.Ex().Change(section, name, []string{value}, true)
}

func RemoveHeader(section contract.Section, name string) Changed {
	return world.Ex().Change(section, name, nil, false)
}

func SetMethod(method string) Changed {
	if method == "CONNECT" {
		return world.Refused(contract.MakeMutateErrorForbidden())
	}
	return onRequest(world.IsToken(method), func(e *world.Exchange) { e.Method = method })
}

func SetAuthority(authority string) Changed {
	valid := authority != "" && !strings.ContainsAny(authority, " /?#@\r\n")
	return onRequest(valid, func(e *world.Exchange) { e.Authority = authority })
}

func SetPath(path string) Changed {
	return onRequest(isTarget(path), func(e *world.Exchange) { e.Path = path })
}

func SetStatus(status uint16) Changed {
	exchange := world.Ex()
	if exchange.Status == 0 {
		return world.TooLate()
	}
	return world.When(status >= 200 && status < 600, func() { exchange.Status = status })
}

func SetUpstream(name string) Changed {
	return onRequest(name != "", func(e *world.Exchange) { e.Upstream = name })
}

func Attribute(name string) wit.Option[string] {
	exchange := world.Ex()
	if value, is := exchange.Attributes[name]; is {
		return wit.Some(value)
	}
	if exchange.Identity != nil && name == "identity.subject" {
		return wit.Some(exchange.Identity.Subject)
	}
	return wit.None[string]()
}

func SetAttribute(name, value string) Changed {
	if name == "" || len(name) > nameBytes || len(value) > valueBytes {
		return world.Refused(contract.MakeMutateErrorLimitExceeded())
	}
	world.Ex().Own[name] = value
	return world.Made
}

func Identity() wit.Option[contract.Caller] {
	if caller := world.Ex().Identity; caller != nil {
		return wit.Some(*caller)
	}
	return wit.None[contract.Caller]()
}

func SetIdentity(caller contract.Caller) Changed {
	var claims map[string]any
	valid := json.Unmarshal([]byte(caller.Claims), &claims) == nil && claims != nil
	return onRequest(valid, func(e *world.Exchange) { e.Identity = &caller })
}

func SetBodyMode(direction contract.Direction, mode contract.BodyMode) Changed {
	exchange := world.Ex()
	if direction == contract.Direction_Request && exchange.Status != 0 {
		return world.TooLate()
	}
	exchange.BodyModes[direction] = mode
	return world.Made
}

func State() []uint8 { return world.Ex().State }

func SetState(state []uint8) Changed {
	world.Ex().State = slices.Clone(state)
	return world.Made
}

// A request that was sent cannot be changed any more.
func onRequest(valid bool, change func(*world.Exchange)) Changed {
	exchange := world.Ex()
	if exchange.Status != 0 {
		return world.TooLate()
	}
	return world.When(valid, func() { change(exchange) })
}

// isTarget is whether a text is an absolute, already normalised path with an optional query.
func isTarget(text string) bool {
	path, _, _ := strings.Cut(text, "?")
	isDots := func(segment string) bool {
		segment = strings.ReplaceAll(strings.ToLower(segment), "%2e", ".")
		return segment == "." || segment == ".."
	}
	isOther := func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }
	return strings.HasPrefix(text, "/") && !strings.ContainsFunc(text, isOther) &&
		!slices.ContainsFunc(strings.Split(path, "/"), isDots)
}

// The longest name and value of an attribute.
const (
	nameBytes  = 1024
	valueBytes = 4096
)
