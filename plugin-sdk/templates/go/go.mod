module plugins/my-plugin

go 1.25

require (
	gatewright v0.1.0
	gatewright/wit v0.1.0
)

// The gateway's SDK, and its double of the gateway for `go test`. `gatewright plugin build` takes what it makes of wit/world.wit in
// the place of the double.
replace (
	gatewright => ./sdk
	gatewright/wit => ./sdk/double
)
