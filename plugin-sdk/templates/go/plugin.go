// Package plugin is a door: only requests that know the word are let in.
package plugin

import (
	"encoding/json"
	"errors"

	"gatewright"
)

// Plugin is the value that the gateway loads.
var Plugin = gatewright.Define(gatewright.Manifest{
	Name:         "my-plugin",
	Version:      "0.1.0",
	ConfigSchema: configSchema,
}, newDoor)

// What the operator writes; the gateway checks it against this.
var configSchema = json.RawMessage(`{
	"type": "object",
	"required": ["word"],
	"additionalProperties": false,
	"properties": { "word": { "type": "string", "description": "The value of ` + "`x-word`" + ` that opens the door." } }
}`)

type config struct {
	Word string `json:"word"`
}

type door struct {
	word string
}

// Runs once for each instance: compute everything that depends only on the configuration here.
func newDoor(c config) (*door, error) {
	if c.Word == "" {
		return nil, errors.New("word: an empty word would open the door to everybody")
	}
	return &door{word: c.Word}, nil
}

// OnRequest runs for each request.
func (d *door) OnRequest(ex gatewright.Exchange, endOfStream bool) (gatewright.Decision, error) {
	headers := ex.Request.Headers
	if word, _ := headers.Get("x-word"); word != d.word {
		return gatewright.Problem(403, "Forbidden", "the door stays shut"), nil
	}
	// Hide the word from the servers behind the gateway.
	return gatewright.Proceed(), errors.Join(headers.Remove("x-word"), headers.Set("x-door", "open"))
}
