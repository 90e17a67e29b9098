// Package gatewright_plugin_clock is the contract's interface `clock`. The clock only moves when a test advances it.
package gatewright_plugin_clock

import "gatewright/wit/world"

type Timestamp struct {
	Seconds     uint64
	Nanoseconds uint32
}

func Now() Timestamp {
	now := world.Get().Now
	return Timestamp{uint64(now.Unix()), uint32(now.Nanosecond())}
}

func Monotonic() uint64 { return uint64(world.Get().Monotonic.Microseconds()) }
