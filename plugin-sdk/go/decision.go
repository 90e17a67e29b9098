package gatewright

import (
	"encoding/json"

	wit "gatewright/internal/wit/types"
	"gatewright/wit/imports/gatewright_plugin_types"
)

// Decision is what happens after a header hook. Its zero value is not valid: use Proceed, Respond or Abort.
type Decision = gatewright_plugin_types.Decision

// BodyDecision is what happens after a body hook.
type BodyDecision = gatewright_plugin_types.BodyDecision

// Answer is a response that the plugin makes.
type Answer struct {
	Status  uint16
	Headers []Field
	Body    []byte
}

// Field is a header field.
type Field struct{ Name, Value string }

// Proceed goes on to the next plugin, with all changes made so far.
func Proceed() Decision { return gatewright_plugin_types.MakeDecisionProceed() }

// Respond stops here and answers the client.
func Respond(answer Answer) Decision {
	return gatewright_plugin_types.MakeDecisionRespond(answer.local())
}

// RespondJSON stops here and answers the client with JSON.
func RespondJSON(status uint16, value any, fields ...Field) Decision {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	headers := append([]Field{{"content-type", "application/json"}}, fields...)
	return Respond(Answer{Status: status, Headers: headers, Body: body})
}

// Problem stops here and answers the client with a problem (RFC 9457), as the gateway itself does.
func Problem(status uint16, title, detail string, fields ...Field) Decision {
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status uint16 `json:"status"`
		Detail string `json:"detail,omitempty"`
	}{"about:blank", title, status, detail})
	if err != nil {
		panic(err)
	}
	headers := append([]Field{{"content-type", "application/problem+json"}}, fields...)
	return Respond(Answer{Status: status, Headers: headers, Body: body})
}

// Abort stops here and resets the client's stream.
func Abort() Decision { return gatewright_plugin_types.MakeDecisionAbort() }

// Pass sends the chunk, and everything held so far, on unchanged.
func Pass() BodyDecision { return gatewright_plugin_types.MakeBodyDecisionPass() }

// Hold keeps the chunk back; it is shown again, joined with the next chunk or with several.
func Hold() BodyDecision { return gatewright_plugin_types.MakeBodyDecisionHold() }

// Replace sends these bytes instead of the chunk and everything held so far.
func Replace(body []byte) BodyDecision { return gatewright_plugin_types.MakeBodyDecisionReplace(body) }

// RespondToBody stops here and answers the client.
func RespondToBody(answer Answer) BodyDecision {
	return gatewright_plugin_types.MakeBodyDecisionRespond(answer.local())
}

// AbortBody stops here and resets the client's stream.
func AbortBody() BodyDecision { return gatewright_plugin_types.MakeBodyDecisionAbort() }

func (a Answer) local() gatewright_plugin_types.LocalResponse {
	headers := make([]wit.Tuple2[string, string], len(a.Headers))
	for i, field := range a.Headers {
		headers[i] = wit.Tuple2[string, string]{F0: field.Name, F1: field.Value}
	}
	return gatewright_plugin_types.LocalResponse{Status: a.Status, Headers: headers, Body: a.Body}
}
