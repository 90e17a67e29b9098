// Package gatewright_plugin_rate_limit is the contract's interface `rate-limit`: buckets refill with the double's
// clock.
package gatewright_plugin_rate_limit

import (
	"fmt"

	"gatewright/wit/world"
)

type Quota struct{ Requests, PerMs, Burst uint32 }

type Outcome struct {
	Allowed                          bool
	Remaining, ResetMs, RetryAfterMs uint32
}

func Take(key string, quota Quota, cost uint32) Outcome {
	here := world.Get()
	size := float64(quota.Burst)
	if quota.Burst == 0 {
		size = float64(quota.Requests)
	}
	if quota.Requests == 0 || quota.PerMs == 0 {
		return Outcome{ResetMs: never, RetryAfterMs: never}
	}
	// Milliseconds until there is room for one more.
	each := float64(quota.PerMs) / float64(quota.Requests)
	place := fmt.Sprint(key, quota)
	bucket := here.Buckets[place]
	passed := float64((here.Monotonic - bucket.Since).Microseconds()) / 1000
	level := max(0, bucket.Level-passed/each)
	outcome := Outcome{Allowed: level+float64(cost) <= size}
	switch {
	case outcome.Allowed:
		level += float64(cost)
		here.Buckets[place] = world.Bucket{Level: level, Since: here.Monotonic}
	case float64(cost) > size:
		outcome.RetryAfterMs = never
	default:
		outcome.RetryAfterMs = up((level + float64(cost) - size) * each)
	}
	outcome.Remaining, outcome.ResetMs = uint32(size-level), up(level*each)
	return outcome
}

func up(ms float64) uint32 {
	whole := uint32(ms)
	if float64(whole) < ms {
		whole++
	}
	return whole
}

const never = ^uint32(0)
