// Package ratelimit is a limiter that the gateway runs.
package ratelimit

import host "gatewright/wit/imports/gatewright_plugin_rate_limit"

// Quota is Requests per PerMs, of which Burst may come at once (0: as many as Requests).
type Quota = host.Quota

// Outcome says whether the cost was taken, what is left and how long to wait.
type Outcome = host.Outcome

// Take takes `cost` from the bucket of a key, whole or not at all.
func Take(key string, quota Quota, cost uint32) Outcome { return host.Take(key, quota, cost) }
