// Package export connects a plugin to the hooks that its world exports. `gatewright plugin build` generates the code
// that calls it.
package export

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sort"
	"strings"

	"gatewright"
	background "gatewright/internal/export_gatewright_plugin_background"
	completion "gatewright/internal/export_gatewright_plugin_completion_hook"
	lifecycle "gatewright/internal/export_gatewright_plugin_lifecycle"
	requestbody "gatewright/internal/export_gatewright_plugin_request_body_hook"
	request "gatewright/internal/export_gatewright_plugin_request_hook"
	responsebody "gatewright/internal/export_gatewright_plugin_response_body_hook"
	response "gatewright/internal/export_gatewright_plugin_response_hook"
	wit "gatewright/internal/wit/types"
	"gatewright/log"
)

var here gatewright.Exchange

// Lifecycle is what every plugin exports.
func Lifecycle[C, P any](d *gatewright.Definition[C, P]) {
	lifecycle.Describe = func() string {
		defer guard()
		text, err := json.Marshal(d.Manifest())
		must(err)
		return string(text)
	}
	lifecycle.Configure = func(config string) wit.Result[wit.Unit, string] {
		defer guard()
		if unexported := unexported(d.Plugin()); len(unexported) > 0 {
			return wit.Err[wit.Unit](fmt.Sprintf(
				"%s would never run: wit/world.wit does not export it", strings.Join(unexported, ", "),
			))
		}
		if err := d.Configure(config); err != nil {
			return wit.Err[wit.Unit](err.Error())
		}
		return wit.Ok[wit.Unit, string](wit.Unit{})
	}
}

func RequestHook[C any, P gatewright.RequestHook](d *gatewright.Definition[C, P]) {
	request.OnRequest = func(end bool) gatewright.Decision {
		defer guard()
		decision, err := d.Plugin().OnRequest(here, end)
		must(err)
		return decision
	}
}

func RequestBodyHook[C any, P gatewright.RequestBodyHook](d *gatewright.Definition[C, P]) {
	requestbody.OnRequestBody = func(chunk []byte, end bool) gatewright.BodyDecision {
		defer guard()
		decision, err := d.Plugin().OnRequestBody(here, chunk, end)
		must(err)
		return decision
	}
}

func ResponseHook[C any, P gatewright.ResponseHook](d *gatewright.Definition[C, P]) {
	response.OnResponse = func(end bool) gatewright.Decision {
		defer guard()
		decision, err := d.Plugin().OnResponse(here, end)
		must(err)
		return decision
	}
}

func ResponseBodyHook[C any, P gatewright.ResponseBodyHook](d *gatewright.Definition[C, P]) {
	responsebody.OnResponseBody = func(chunk []byte, end bool) gatewright.BodyDecision {
		defer guard()
		decision, err := d.Plugin().OnResponseBody(here, chunk, end)
		must(err)
		return decision
	}
}

func CompletionHook[C any, P gatewright.CompletionHook](d *gatewright.Definition[C, P]) {
	completion.OnComplete = func() {
		defer guard()
		must(d.Plugin().OnComplete(here))
	}
}

func Background[C any, P gatewright.Background](d *gatewright.Definition[C, P]) {
	background.OnTick = func() wit.Option[uint32] {
		defer guard()
		next, err := d.Plugin().OnTick()
		must(err)
		if next == 0 {
			return wit.None[uint32]()
		}
		return wit.Some(next)
	}
}

// The hooks that a plugin implements but its world does not export.
func unexported(plugin any) []string {
	var names []string
	is := func(name string, written, exported bool) {
		if written && !exported {
			names = append(names, name)
		}
	}
	_, written := plugin.(gatewright.RequestHook)
	is("OnRequest", written, request.OnRequest != nil)
	_, written = plugin.(gatewright.RequestBodyHook)
	is("OnRequestBody", written, requestbody.OnRequestBody != nil)
	_, written = plugin.(gatewright.ResponseHook)
	is("OnResponse", written, response.OnResponse != nil)
	_, written = plugin.(gatewright.ResponseBodyHook)
	is("OnResponseBody", written, responsebody.OnResponseBody != nil)
	_, written = plugin.(gatewright.CompletionHook)
	is("OnComplete", written, completion.OnComplete != nil)
	_, written = plugin.(gatewright.Background)
	is("OnTick", written, background.OnTick != nil)
	sort.Strings(names)
	return names
}

func must(err error) {
	if err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
}

// guard handles a hook that panics. Like every plugin, it ends in a trap; the message and the stack are logged before.
func guard() {
	if said := recover(); said != nil {
		log.Error(fmt.Sprintf("panic: %v\n%s", said, debug.Stack()))
		os.Exit(2)
	}
}
