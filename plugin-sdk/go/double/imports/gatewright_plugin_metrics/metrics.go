// Package gatewright_plugin_metrics is the contract's interface `metrics`: values are kept in the double's world.
package gatewright_plugin_metrics

import "gatewright/wit/world"

func Count(name string, labels []string, delta uint64)  { measure(name, labels, float64(delta)) }
func Gauge(name string, labels []string, value float64) { measure(name, labels, value) }

func Observe(name string, labels []string, value float64) { measure(name, labels, value) }

func measure(name string, labels []string, value float64) {
	here := world.Get()
	here.Measures = append(here.Measures, world.Measure{Name: name, Labels: labels, Value: value})
}
