// Package export_gatewright_plugin_response_body_hook is where the bindings find the plugin's hook for response bodies.
package export_gatewright_plugin_response_body_hook

import types "gatewright/wit/imports/gatewright_plugin_types"

var OnResponseBody func(chunk []uint8, endOfStream bool) types.BodyDecision
