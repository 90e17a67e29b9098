// Package export_gatewright_plugin_response_hook is where the bindings find the plugin's response hook.
package export_gatewright_plugin_response_hook

import types "gatewright/wit/imports/gatewright_plugin_types"

var OnResponse func(endOfStream bool) types.Decision
