// Package export_gatewright_plugin_background is where the bindings find the plugin's hook in the background.
package export_gatewright_plugin_background

import "gatewright/internal/wit/types"

var OnTick func() types.Option[uint32]
