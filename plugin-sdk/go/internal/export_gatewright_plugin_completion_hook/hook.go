// Package export_gatewright_plugin_completion_hook is where the bindings find the plugin's completion hook.
package export_gatewright_plugin_completion_hook

var OnComplete func()
