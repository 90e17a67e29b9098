module gatewright/wit

go 1.25

require gatewright v0.1.0
