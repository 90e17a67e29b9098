module gatewright

go 1.25

require gatewright/wit v0.1.0
