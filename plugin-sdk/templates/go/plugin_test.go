package plugin

import (
	"testing"

	"gatewright/gatewrighttest"
)

// `go test` needs only Go: no component is built.
func TestTheWordOpensTheDoorAndGoesNoFurther(t *testing.T) {
	gateway := gatewrighttest.New(t)
	door := gatewrighttest.Configure(t, Plugin, `{ "word": "sesame" }`)
	gateway.Receive(gatewrighttest.Get("/").With("x-word", "sesame"))
	if answer := gateway.OnRequest(door); answer != nil {
		t.Fatalf("the door is shut: %d %s", answer.Status, answer.Body)
	}
	if word, is := gateway.RequestHeader("x-word"); is {
		t.Errorf("the upstream sees the word %q", word)
	}
	if door, _ := gateway.RequestHeader("x-door"); door != "open" {
		t.Errorf("x-door is %q", door)
	}
}

func TestNothingElseDoes(t *testing.T) {
	gateway := gatewrighttest.New(t)
	door := gatewrighttest.Configure(t, Plugin, `{ "word": "sesame" }`)
	for _, request := range []gatewrighttest.Request{
		gatewrighttest.Get("/"),
		gatewrighttest.Get("/").With("x-word", "barley"),
	} {
		gateway.Receive(request)
		if answer := gateway.OnRequest(door); answer == nil || answer.Status != 403 {
			t.Errorf("%+v: %+v", request, answer)
		}
	}
}
