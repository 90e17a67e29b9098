// Package plugin does nothing, in Go.
package plugin

import "gatewright"

var Plugin = gatewright.Define(gatewright.Manifest{Name: "no-op", Version: "1.0.0"}, newNothing)

type nothing struct{}

func newNothing(struct{}) (*nothing, error) { return &nothing{}, nil }

func (*nothing) OnRequest(ex gatewright.Exchange, endOfStream bool) (gatewright.Decision, error) {
	return gatewright.Proceed(), nil
}
