// Package metrics writes the metrics that the manifest declares; others are dropped. Labels are values, in the order of the
// manifest.
package metrics

import host "gatewright/wit/imports/gatewright_plugin_metrics"

// Count adds to a counter.
func Count(name string, delta uint64, labels ...string) { host.Count(name, labels, delta) }

// Gauge sets a gauge.
func Gauge(name string, value float64, labels ...string) { host.Gauge(name, labels, value) }

// Observe adds a value to a histogram.
func Observe(name string, value float64, labels ...string) { host.Observe(name, labels, value) }
