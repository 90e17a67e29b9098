// Package plugin is the policy of tests/policies, in Go.
package plugin

import (
	"encoding/json"
	"errors"
	"strconv"

	"gatewright"
	"gatewright/httpclient"
	"gatewright/store"
)

var Plugin = gatewright.Define(gatewright.Manifest{
	Name:    "policy",
	Version: "1.0.0",
	ConfigSchema: json.RawMessage(`{
		"type": "object",
		"required": ["keys", "per_minute"],
		"additionalProperties": false,
		"properties": {
			"keys": { "type": "object", "additionalProperties": { "type": "string" } },
			"per_minute": { "type": "integer", "minimum": 1 }
		}
	}`),
}, func(p policy) (*policy, error) { return &p, nil })

type policy struct {
	Keys      map[string]string `json:"keys"`
	PerMinute int64             `json:"per_minute"`
}

func (p *policy) OnRequest(ex gatewright.Exchange, endOfStream bool) (gatewright.Decision, error) {
	user, known := p.caller(ex)
	if !known {
		return refuse(401, "who are you?", gatewright.Field{Name: "www-authenticate", Value: "Key"}), nil
	}
	count, err := store.Increment("seen:"+user, 1, 60_000)
	if err != nil {
		return refuse(503, "try again later"), nil
	}
	if count > p.PerMinute {
		return refuse(429, "too many requests", gatewright.Field{Name: "retry-after", Value: "60"}), nil
	}
	plan, given := ex.Request.Headers.Get("x-plan")
	if !given {
		plan = "free"
	}
	tier, err := tierOf(user, plan)
	if err != nil {
		return refuse(503, "try again later"), nil
	}
	err = errors.Join(
		ex.Request.Headers.Remove("x-api-key"),
		ex.Request.Headers.Set("x-user", user),
		ex.Request.Headers.Set("x-tier", tier),
		ex.Response.Headers.Set("x-remaining", strconv.FormatInt(p.PerMinute-count, 10)),
		ex.SetIdentity(user, map[string]string{"tier": tier}),
		ex.SetAttribute("tier", tier),
	)
	if err != nil {
		return refuse(503, "try again later"), nil
	}
	return gatewright.Proceed(), nil
}

func (p *policy) caller(ex gatewright.Exchange) (string, bool) {
	if proved, is := ex.Identity(); is {
		return proved.Subject, true
	}
	key, _ := ex.Request.Headers.Get("x-api-key")
	user, known := p.Keys[key]
	return user, known
}

func tierOf(user, plan string) (string, error) {
	answer, err := httpclient.Get("profiles", "/users/"+user, gatewright.Field{Name: "x-plan", Value: plan})
	switch {
	case err != nil:
		return "", err
	case answer.Status == 404:
		return "none", nil
	case answer.Status != 200:
		return "", errors.New("no profile")
	}
	var profile struct{ Tier string }
	err = json.Unmarshal(answer.Body, &profile)
	return profile.Tier, err
}

func refuse(status uint16, reason string, fields ...gatewright.Field) gatewright.Decision {
	return gatewright.RespondJSON(status, map[string]string{"error": reason}, fields...)
}
