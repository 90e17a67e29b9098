// Package gatewright_plugin_log is the contract's interface `log`: lines are kept in the double's world.
package gatewright_plugin_log

import (
	wit "gatewright/internal/wit/types"
	"gatewright/wit/world"
)

type Level = uint8

const (
	Level_Trace Level = iota
	Level_Debug
	Level_Info
	Level_Warn
	Level_Error
)

func Enabled(Level) bool { return true }

func Write(level Level, message string, fields []wit.Tuple2[string, string]) {
	line := world.Line{Level: level, Message: message}
	for _, field := range fields {
		line.Fields = append(line.Fields, world.Field{Name: field.F0, Value: field.F1})
	}
	here := world.Get()
	here.Lines = append(here.Lines, line)
}
