package gatewrighttest_test

import (
	"errors"
	"testing"
	"time"

	"gatewright"
	"gatewright/clock"
	"gatewright/gatewrighttest"
	"gatewright/httpclient"
	"gatewright/log"
	"gatewright/metrics"
	"gatewright/ratelimit"
	"gatewright/store"
)

// hooks is a plugin of functions.
type hooks struct {
	request  func(ex gatewright.Exchange) (gatewright.Decision, error)
	response func(ex gatewright.Exchange) (gatewright.Decision, error)
	body     func(chunk []byte, end bool) (gatewright.BodyDecision, error)
}

func (h hooks) OnRequest(ex gatewright.Exchange, _ bool) (gatewright.Decision, error) {
	return h.request(ex)
}
func (h hooks) OnResponse(ex gatewright.Exchange, _ bool) (gatewright.Decision, error) {
	return h.response(ex)
}
func (h hooks) OnRequestBody(_ gatewright.Exchange, chunk []byte, end bool) (gatewright.BodyDecision, error) {
	return h.body(chunk, end)
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

func TestTheExchangeIsReadAndChanged(t *testing.T) {
	gateway := gatewrighttest.New(t)
	plugin := hooks{
		request: func(ex gatewright.Exchange) (gatewright.Decision, error) {
			words := ex.Request.Headers.Select("X-Word", "x-none")
			if words[0] == nil || *words[0] != "a" || words[1] != nil || len(ex.Request.Headers.All()) != 2 {
				t.Error(words, ex.Request.Headers.All())
			}
			if address, _ := ex.Attribute("source.address"); address != "203.0.113.9" {
				t.Error(address)
			}
			for _, refused := range []struct{ got, want error }{
				{ex.Request.Headers.Set("a b", "c"), gatewright.ErrInvalidSyntax},
				{ex.Request.Headers.Set("x-a", "b\r\nc: d"), gatewright.ErrInvalidSyntax},
				{ex.Request.Headers.Set("Content-Length", "1"), gatewright.ErrForbidden},
				{ex.Request.Headers.Set("Expect", "100-continue"), gatewright.ErrForbidden},
				{ex.Request.SetPath("no-slash"), gatewright.ErrInvalidSyntax},
				{ex.Request.SetPath("/a/%2E./b"), gatewright.ErrInvalidSyntax},
				{ex.Request.SetMethod("CONNECT"), gatewright.ErrForbidden},
				{ex.SetAttribute("", "b"), gatewright.ErrLimitExceeded},
				{ex.Response.SetStatus(200), gatewright.ErrWrongPhase},
			} {
				if !errors.Is(refused.got, refused.want) {
					t.Errorf("%v, not %v", refused.got, refused.want)
				}
			}
			return gatewright.Proceed(), errors.Join(
				ex.Request.Headers.Append("x-word", " c\t"), ex.Request.Headers.Remove("x-gone"), ex.Request.SetPath("/b?d"),
				ex.Response.Headers.Set("x-early", "1"), ex.SetIdentity("ada", map[string]int{"n": 1}),
				ex.SetAttribute("tier", "gold"), ex.SetUpstream("other"), ex.SetState([]byte("kept")),
			)
		},
		response: func(ex gatewright.Exchange) (gatewright.Decision, error) {
			if string(ex.State()) != "kept" || ex.Response.Status() != 200 {
				t.Error(ex.State(), ex.Response.Status())
			}
			for _, late := range []error{
				ex.Request.SetPath("/late"), ex.Request.Headers.Set("x-late", "1"), ex.Request.ReadBody(gatewright.WholeBody),
			} {
				if !errors.Is(late, gatewright.ErrWrongPhase) {
					t.Error(late)
				}
			}
			return gatewright.Problem(502, "Bad Gateway", "no"), nil
		},
	}
	gateway.Receive(gatewrighttest.Get("/a").With("X-Word", "a").With("x-gone", "b").With("host", "shop.test").
		WithAttribute("source.address", "203.0.113.9"))
	if answer := gateway.OnRequest(plugin); answer != nil {
		t.Fatal(answer)
	}
	words, _ := gateway.RequestHeader("x-word")
	_, gone := gateway.RequestHeader("x-gone")
	identity, _ := gateway.Identity()
	equal(t, "the words", words, "a, c")
	equal(t, "what is gone", gone, false)
	equal(t, "the path", gateway.Path(), "/b?d")
	equal(t, "the authority", gateway.Authority(), "shop.test")
	equal(t, "the caller", identity.Subject+string(identity.Claims), `ada{"n":1}`)
	equal(t, "the attribute", gateway.Attributes()["tier"], "gold")
	equal(t, "the upstream", gateway.Chosen(), "other")
	gateway.Respond(200, gatewright.Field{Name: "X-Early", Value: "0"})
	early, _ := gateway.ResponseHeader("x-early")
	equal(t, "what the request hook wanted", early, "1")
	equal(t, "the answer", gateway.OnResponse(plugin).Status, 502)
}

func TestWhatAPluginIsLent(t *testing.T) {
	gateway := gatewrighttest.New(t)
	gateway.Upstream("users", func(call gatewrighttest.Call) gatewright.Answer {
		return gatewright.Answer{Status: 200, Body: []byte(call.Method + " " + call.Path)}
	})
	gateway.Upstream("silent", nil)
	answer, err := httpclient.Get("users", "/ada")
	equal(t, "the answer", string(answer.Body), "GET /ada")
	if _, silent := httpclient.Get("silent", "/"); err != nil || !errors.Is(silent, httpclient.ErrConnectionFailed) {
		t.Error(err, silent)
	}
	if _, unknown := httpclient.Get("nobody", "/"); !errors.Is(unknown, httpclient.ErrUnknownUpstream) {
		t.Error(unknown)
	}
	equal(t, "calls", len(gateway.Calls()), 3)

	began := clock.Now()
	for want := int64(1); want <= 2; want++ {
		if count, err := store.Increment("seen", 1, 1000); err != nil || count != want {
			t.Error(count, err)
		}
	}
	quota := ratelimit.Quota{Requests: 2, PerMs: 1000}
	for _, allowed := range []bool{true, true, false} {
		equal(t, "the limit", ratelimit.Take("ada", quota, 1).Allowed, allowed)
	}
	equal(t, "the wait", ratelimit.Take("ada", quota, 1).RetryAfterMs, 500)
	gateway.Advance(time.Second)
	equal(t, "the time", clock.Now().Sub(began), time.Second)
	equal(t, "the limit", ratelimit.Take("ada", quota, 2).Allowed, true)
	if _, there := store.Get("seen"); there {
		t.Error("an entry lives longer than it should")
	}

	log.Warn("so it is", "why", "because")
	metrics.Count("seen", 2, "label")
	line, measure := gateway.Lines()[0], gateway.Measures()[0]
	equal(t, "the line", line.Level+" "+line.Message+" "+line.Fields[0].Value, "warn so it is because")
	equal(t, "the measure", measure.Value, 2)
}

func TestBodiesAreGivenAsTheyWereAskedFor(t *testing.T) {
	for _, test := range []struct {
		mode gatewright.BodyMode
		want string
	}{
		{gatewright.SkipBody, "abcd"},
		{gatewright.WholeBody, "[abcd]"},
		{gatewright.BodyChunks, "[ab][cd]"},
	} {
		t.Run("", func(t *testing.T) {
			gateway := gatewrighttest.New(t)
			plugin := hooks{
				request: func(ex gatewright.Exchange) (gatewright.Decision, error) {
					return gatewright.Proceed(), ex.Request.ReadBody(test.mode)
				},
				body: func(chunk []byte, end bool) (gatewright.BodyDecision, error) {
					// Two bytes at a time.
					if len(chunk) < 2 && !end {
						return gatewright.Hold(), nil
					}
					return gatewright.Replace([]byte("[" + string(chunk) + "]")), nil
				},
			}
			gateway.Receive(gatewrighttest.Post("/"))
			gateway.OnRequest(plugin)
			sent, answer := gateway.RequestBody(plugin, "a", "b", "cd")
			if sent != test.want || answer != nil {
				t.Error(sent, answer)
			}
		})
	}
}
