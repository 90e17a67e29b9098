// Package export_gatewright_plugin_request_body_hook is where the bindings find the plugin's hook for request bodies.
package export_gatewright_plugin_request_body_hook

import types "gatewright/wit/imports/gatewright_plugin_types"

var OnRequestBody func(chunk []uint8, endOfStream bool) types.BodyDecision
