package plugin

import (
	"testing"

	"gatewright"
	"gatewright/gatewrighttest"
)

const config = `{ "keys": { "k1": "ada" }, "per_minute": 2 }`

// The policy without a component: what tests/policies/cases.json asks of it in the engine is asked in Go here.
func TestThePolicy(t *testing.T) {
	gateway := gatewrighttest.New(t)
	gateway.Upstream("profiles", func(call gatewrighttest.Call) gatewright.Answer {
		if call.Path != "/users/ada" || call.Headers[0].Value != "pro" {
			t.Errorf("%+v", call)
		}
		return gatewright.Answer{Status: 200, Body: []byte(`{ "tier": "gold" }`)}
	})
	policy := gatewrighttest.Configure(t, Plugin, config)
	for _, remaining := range []string{"1", "0"} {
		gateway.Receive(gatewrighttest.Get("/").With("x-api-key", "k1").With("x-plan", "pro").With("x-user", "root"))
		if answer := gateway.OnRequest(policy); answer != nil {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		user, _ := gateway.RequestHeader("x-user")
		tier, _ := gateway.RequestHeader("x-tier")
		caller, _ := gateway.Identity()
		if _, is := gateway.RequestHeader("x-api-key"); is || user != "ada" || tier != "gold" || caller.Subject != "ada" {
			t.Errorf("%q %q %q", user, tier, caller.Subject)
		}
		gateway.Respond(200)
		if told, _ := gateway.ResponseHeader("x-remaining"); told != remaining {
			t.Errorf("%q, not %q are left", told, remaining)
		}
	}
	gateway.Receive(gatewrighttest.Get("/").With("x-api-key", "k1").With("x-plan", "pro"))
	if answer := gateway.OnRequest(policy); answer == nil || answer.Status != 429 {
		t.Errorf("%+v", answer)
	}
	gateway.Receive(gatewrighttest.Get("/").With("x-api-key", "k2"))
	if answer := gateway.OnRequest(policy); answer == nil || answer.Status != 401 {
		t.Errorf("%+v", answer)
	}
}

func TestWithoutProfilesNobodyIsLetIn(t *testing.T) {
	gateway := gatewrighttest.New(t)
	gateway.Upstream("profiles", nil)
	policy := gatewrighttest.Configure(t, Plugin, config)
	gateway.Receive(gatewrighttest.Get("/").With("x-api-key", "k1"))
	if answer := gateway.OnRequest(policy); answer == nil || answer.Status != 503 {
		t.Errorf("%+v", answer)
	}
}
