// Package export_gatewright_plugin_request_hook is where the bindings find the plugin's request hook.
package export_gatewright_plugin_request_hook

import types "gatewright/wit/imports/gatewright_plugin_types"

var OnRequest func(endOfStream bool) types.Decision
