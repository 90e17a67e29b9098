// Package clock is the time. In a plugin, Go's own (time.Now) only counts its calls.
package clock

import (
	"time"

	host "gatewright/wit/imports/gatewright_plugin_clock"
)

// Now is the wall clock's time.
func Now() time.Time {
	now := host.Now()
	return time.Unix(int64(now.Seconds), int64(now.Nanoseconds)).UTC()
}

// Monotonic is the time since an arbitrary point. It never goes back.
func Monotonic() time.Duration { return time.Duration(host.Monotonic()) * time.Microsecond }
