module plugins/my-plugin

go 1.25

require (
	gatewright v0.1.0
	gatewright/wit v0.1.0
)

// The gateway's SDK, and what `gatewright plugin build` makes of wit/world.wit.
replace (
	gatewright => ./sdk
	gatewright/wit => ./build/bindings
)
