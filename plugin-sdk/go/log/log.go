// Package log writes lines of the plugin's log. Fields come in pairs, a name and a value.
package log

import (
	wit "gatewright/internal/wit/types"
	host "gatewright/wit/imports/gatewright_plugin_log"
)

func Trace(message string, fields ...string) { write(host.Level_Trace, message, fields) }
func Debug(message string, fields ...string) { write(host.Level_Debug, message, fields) }
func Info(message string, fields ...string)  { write(host.Level_Info, message, fields) }
func Warn(message string, fields ...string)  { write(host.Level_Warn, message, fields) }
func Error(message string, fields ...string) { write(host.Level_Error, message, fields) }

// DebugEnabled is whether a line of Debug would be kept.
func DebugEnabled() bool { return host.Enabled(host.Level_Debug) }

func write(level host.Level, message string, fields []string) {
	pairs := make([]wit.Tuple2[string, string], 0, (len(fields)+1)/2)
	for i := 0; i < len(fields); i += 2 {
		pair := wit.Tuple2[string, string]{F0: fields[i]}
		if i+1 < len(fields) {
			pair.F1 = fields[i+1]
		}
		pairs = append(pairs, pair)
	}
	host.Write(level, message, pairs)
}
