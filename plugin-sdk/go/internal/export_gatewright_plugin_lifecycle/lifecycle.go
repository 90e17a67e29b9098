// Package export_gatewright_plugin_lifecycle is where the bindings find the plugin's manifest and configuration.
package export_gatewright_plugin_lifecycle

import "gatewright/internal/wit/types"

var (
	Describe  func() string
	Configure func(config string) types.Result[types.Unit, string]
)
