// Package clock is the time. Go's own (time.Now) only counts in a plugin.
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
