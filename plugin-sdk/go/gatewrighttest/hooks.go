package gatewrighttest

import (
	"gatewright"
	contract "gatewright/wit/imports/gatewright_plugin_types"
	"gatewright/wit/world"
)

// OnRequest runs the hook. nil is Proceed; an answer with the status 0 is Abort.
func (g *Gateway) OnRequest(plugin gatewright.RequestHook) *gatewright.Answer {
	g.t.Helper()
	return g.decided(plugin.OnRequest(here, true))
}

// OnResponse runs the hook, after Respond. nil is Proceed; an answer with the status 0 is Abort.
func (g *Gateway) OnResponse(plugin gatewright.ResponseHook) *gatewright.Answer {
	g.t.Helper()
	if world.Ex().Status == 0 {
		g.t.Fatal("there is no response: call Respond before")
	}
	return g.decided(plugin.OnResponse(here, false))
}

// OnComplete runs the hook, and ends the exchange.
func (g *Gateway) OnComplete(plugin gatewright.CompletionHook) {
	g.t.Helper()
	if err := plugin.OnComplete(here); err != nil {
		g.t.Fatal(err)
	}
	world.Get().Exchange = nil
}

// OnTick runs the plugin's background hook, without an exchange.
func (g *Gateway) OnTick(plugin gatewright.Background) uint32 {
	g.t.Helper()
	exchange := world.Get().Exchange
	world.Get().Exchange = nil
	next, err := plugin.OnTick()
	if err != nil {
		g.t.Fatal(err)
	}
	world.Get().Exchange = exchange
	return next
}

// RequestBody passes a body in these chunks to the plugin, in the mode it asked for, and returns what is sent on: to
// the upstream, or to the client if the plugin answers.
func (g *Gateway) RequestBody(plugin gatewright.RequestBodyHook, chunks ...string) (string, *gatewright.Answer) {
	g.t.Helper()
	return g.body(contract.Direction_Request, chunks, func(chunk []byte, end bool) (gatewright.BodyDecision, error) {
		return plugin.OnRequestBody(here, chunk, end)
	})
}

// ResponseBody is the same for the response.
func (g *Gateway) ResponseBody(plugin gatewright.ResponseBodyHook, chunks ...string) (string, *gatewright.Answer) {
	g.t.Helper()
	return g.body(contract.Direction_Response, chunks, func(chunk []byte, end bool) (gatewright.BodyDecision, error) {
		return plugin.OnResponseBody(here, chunk, end)
	})
}

func (g *Gateway) body(
	direction contract.Direction, chunks []string, hook func([]byte, bool) (gatewright.BodyDecision, error),
) (string, *gatewright.Answer) {
	g.t.Helper()
	var whole, sent []byte
	for _, chunk := range chunks {
		whole = append(whole, chunk...)
	}
	switch world.Ex().BodyModes[direction] {
	case contract.BodyMode_Skip:
		return string(whole), nil
	case contract.BodyMode_Whole:
		chunks = []string{string(whole)}
	}
	var held []byte
	for i, chunk := range chunks {
		held = append(held, chunk...)
		decision, err := hook(held, i == len(chunks)-1)
		if err != nil {
			g.t.Fatal(err)
		}
		switch decision.Tag() {
		case contract.BodyDecision_Hold:
			continue
		case contract.BodyDecision_Replace:
			sent = append(sent, decision.Replace()...)
		case contract.BodyDecision_Respond:
			return string(sent), answerOf(decision.Respond())
		case contract.BodyDecision_Abort:
			return string(sent), &gatewright.Answer{}
		default:
			sent = append(sent, held...)
		}
		held = nil
	}
	// Chunks that are held at the end are sent on as they are.
	return string(append(sent, held...)), nil
}

// If a hook returns an error, the operator decides about the request; in a test it is a failure.
func (g *Gateway) decided(decision gatewright.Decision, err error) *gatewright.Answer {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
	switch decision.Tag() {
	case contract.Decision_Respond:
		return answerOf(decision.Respond())
	case contract.Decision_Abort:
		return &gatewright.Answer{}
	default:
		return nil
	}
}

func answerOf(response contract.LocalResponse) *gatewright.Answer {
	answer := &gatewright.Answer{Status: response.Status, Body: response.Body}
	for _, field := range response.Headers {
		answer.Headers = append(answer.Headers, gatewright.Field{Name: field.F0, Value: field.F1})
	}
	return answer
}

var here gatewright.Exchange
