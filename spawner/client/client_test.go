package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

// asked is what a spawner was asked.
type asked struct{ Line, Body, Type string }

// answering serves one answer to everything and records what it was asked.
func answering(t *testing.T, status int, answer string) (*Client, *[]asked) {
	t.Helper()
	var calls []asked
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, asked{r.Method + " " + r.RequestURI, string(body), r.Header.Get("Content-Type")})
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return newClient(t, Config{URL: server.URL, Token: "secret"}), &calls
}

func newClient(t *testing.T, config Config) *Client {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEachMethodCallsItsRoute(t *testing.T) {
	ctx := t.Context()
	at := time.Date(2024, 1, 15, 10, 23, 45, 0, time.UTC)
	only := func(_ any, err error) error { return err }
	const sent = "application/json"
	for _, c := range []struct {
		want   asked
		answer string
		call   func(c *Client) error
	}{
		{asked{"POST /api/deploy?force=true&merge=true", `{"name":"api"}`, sent}, `{}`, func(c *Client) error {
			return only(c.DeployBody(ctx, []byte(`{"name":"api"}`), DeployOptions{Force: true, Merge: true}))
		}},
		{asked{"POST /api/deploy?dry_run=true", `{}`, sent}, `{}`, func(c *Client) error { return only(c.Plan(ctx, []byte(`{}`), DeployOptions{})) }},
		{asked{"GET /api/services", "", ""}, `[]`, func(c *Client) error { return only(c.Services(ctx)) }},
		{asked{"GET /api/services/a%2Fb", "", ""}, `{}`, func(c *Client) error { return only(c.Service(ctx, "a/b")) }},
		{asked{"GET /api/services/%2E%2E", "", ""}, `{}`, func(c *Client) error { return only(c.Service(ctx, "..")) }},
		{asked{"GET /api/services/api?reveal=env", "", ""}, `{}`, func(c *Client) error { return only(c.RevealedService(ctx, "api")) }},
		{asked{"GET /api/services/api/revisions", "", ""}, `[]`, func(c *Client) error { return only(c.Revisions(ctx, "api")) }},
		{asked{"GET /api/services/api/why", "", ""}, `{}`, func(c *Client) error { return only(c.Why(ctx, "api")) }},
		{asked{"DELETE /api/services/api", "", ""}, `{}`, func(c *Client) error { return only(c.Remove(ctx, "api")) }},
		{asked{"POST /api/services/api/scale", `{"replicas":0}`, sent}, `{}`, func(c *Client) error { return only(c.Scale(ctx, "api", 0)) }},
		{asked{"POST /api/services/api/rollback", `{"revision":2}`, sent}, `{}`, func(c *Client) error { return only(c.Rollback(ctx, "api", 2)) }},
		{asked{"POST /api/services/api/restart", "", ""}, `{}`, func(c *Client) error { return only(c.Restart(ctx, "api")) }},
		{asked{"POST /api/services/api/wake", "", ""}, `{}`, func(c *Client) error { return only(c.Wake(ctx, "api")) }},
		{asked{"POST /api/services/api/sleep", "", ""}, `{}`, func(c *Client) error { return only(c.Sleep(ctx, "api")) }},
		{asked{"GET /api/jobs?limit=5&service=api", "", ""}, `[]`, func(c *Client) error { return only(c.Jobs(ctx, "api", 5)) }},
		{asked{"GET /api/jobs/j1", "", ""}, `{}`, func(c *Client) error { return only(c.Job(ctx, "j1")) }},
		{asked{"GET /api/jobs/j1?wait=500ms", "", ""}, `{"state":"failed"}`, func(c *Client) error { return only(c.WaitJob(ctx, "j1")) }},
		{asked{"DELETE /api/jobs/j1", "", ""}, `{}`, func(c *Client) error { return only(c.CancelJob(ctx, "j1")) }},
		{asked{"GET /api/nodes", "", ""}, `[]`, func(c *Client) error { return only(c.Nodes(ctx)) }},
		{asked{"GET /api/edges", "", ""}, `[]`, func(c *Client) error { return only(c.Edges(ctx)) }},
		{asked{"GET /api/tokens", "", ""}, `[]`, func(c *Client) error { return only(c.Tokens(ctx)) }},
		{asked{"POST /api/tokens", `{"expires_in":"1h0m0s","name":"ci","scope":"read"}`, sent}, `{}`, func(c *Client) error {
			return only(c.AddToken(ctx, "ci", fleet.ScopeRead, time.Hour))
		}},
		{asked{"DELETE /api/tokens/ci", "", ""}, ``, func(c *Client) error { return c.RemoveToken(ctx, "ci") }},
		{asked{"GET /api/webhooks", "", ""}, `[]`, func(c *Client) error { return only(c.Webhooks(ctx)) }},
		{asked{"POST /api/webhooks", `{"name":"ops","service":"api","types":["failed"],"url":"https://example.com/hook"}`, sent}, `{}`, func(c *Client) error {
			return only(c.AddWebhook(ctx, fleet.Webhook{Name: "ops", URL: "https://example.com/hook", Service: "api", Types: []fleet.EventType{fleet.EventFailed}}))
		}},
		{asked{"POST /api/webhooks/ops/test", "", ""}, `{}`, func(c *Client) error { return only(c.TestWebhook(ctx, "ops")) }},
		{asked{"DELETE /api/webhooks/ops", "", ""}, ``, func(c *Client) error { return c.RemoveWebhook(ctx, "ops") }},
		{asked{"POST /login", `{"password":"p","username":"u"}`, sent}, `{}`, func(c *Client) error { return only(c.Login(ctx, "u", "p")) }},
		{asked{"GET /healthz", "", ""}, `{}`, func(c *Client) error { return c.Healthy(ctx) }},
		{asked{"GET /readyz", "", ""}, `{}`, func(c *Client) error { return c.Ready(ctx) }},
		{asked{"GET /api/events?after=3&limit=5&service=api&since=2024-01-15T10%3A23%3A45Z&type=wake", "", ""}, `[]`, func(c *Client) error {
			return only(c.Events(ctx, fleet.EventFilter{Service: "api", Types: []fleet.EventType{fleet.EventWake}, Since: at, After: 3, Limit: 5}))
		}},
		{asked{"GET /api/services/api/logs?replica=api-0&since=2024-01-15T10%3A23%3A45Z&tail=10&timestamps=true", "", ""}, ``, func(c *Client) error {
			return c.Logs(ctx, "api", fleet.LogOptions{Tail: 10, Since: at, Timestamps: true, Replica: "api-0"}, nil)
		}},
	} {
		client, calls := answering(t, 200, c.answer)
		if err := c.call(client); err != nil {
			t.Errorf("%s: %v", c.want.Line, err)
		}
		if diff := cmp.Diff([]asked{c.want}, *calls); diff != "" {
			t.Error(diff)
		}
	}
}

func TestADeployedSpecCarriesItsEnvItself(t *testing.T) {
	client, calls := answering(t, 202, `{"service":"api","revision":2,"job_id":"j1"}`)
	spec := fleet.DefaultSpec()
	spec.Name, spec.Image, spec.Env = "api", "app", map[string]fleet.Secret{"KEY": "value"}
	accepted, err := client.Deploy(t.Context(), spec, DeployOptions{})
	if err != nil || accepted != (fleet.Accepted{Service: "api", Revision: 2, JobID: "j1"}) {
		t.Fatalf("got %+v, %v", accepted, err)
	}
	back, err := fleet.DecodeSpec(strings.NewReader((*calls)[0].Body))
	if diff := cmp.Diff(spec, back); diff != "" || err != nil || back.Env["KEY"].Reveal() != "value" {
		t.Errorf("%s %v", diff, err)
	}
}

func TestARefusalComesBackAsTheSpawnersError(t *testing.T) {
	client, _ := answering(t, 400, `{"error":{"kind":"invalid","message":"is missing","field":"name"}}`)
	_, err := client.Services(t.Context())
	var refused *fleet.Error
	if !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff(&fleet.Error{Kind: fleet.Invalid, Message: "is missing", Field: "name"}, refused); diff != "" {
		t.Error(diff)
	}
}

func TestTheAnswerOfSomebodyElseIsSaidToBeThat(t *testing.T) {
	client, _ := answering(t, 404, `<html>not here</html>`)
	if _, err := client.Services(t.Context()); fleet.KindOf(err) != fleet.NotFound || !strings.Contains(err.Error(), "not as a spawner does") {
		t.Errorf("got %v", err)
	}
	client, _ = answering(t, 401, `{"message":"wrong username or password"}`)
	if _, err := client.Login(t.Context(), "u", "p"); fleet.KindOf(err) != fleet.Unauthorized || err.Error() != "wrong username or password" {
		t.Errorf("got %v", err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	client, calls := answering(t, 307, "")
	client.transport.Proxy = nil
	if _, err := client.Services(t.Context()); err == nil || len(*calls) != 1 {
		t.Errorf("got %v after %d calls", err, len(*calls))
	}
}

func TestACredentialIsNeverSentInClearToAnotherMachine(t *testing.T) {
	for url, good := range map[string]bool{
		"":                               true,
		"127.0.0.1:8008":                 true,
		"http://localhost:8008":          true,
		"http://[::1]:8008":              true,
		"http://127.8.9.1":               true,
		"https://spawner.example":        true,
		"unix:///run/spawner.sock":       true,
		"ssh://root@spawner.example":     true,
		"http://spawner.example:8008":    false,
		"spawner.example:8008":           false,
		"http://192.0.2.1":               false,
		"http://localhost.evil.example":  false,
		"http://127.0.0.1.evil.example/": false,
	} {
		_, byToken := New(Config{URL: url, Token: "secret"})
		_, byPassword := New(Config{URL: url, Username: "ann", Password: "secret"})
		if (byToken == nil) != good || (byPassword == nil) != good {
			t.Errorf("%s: got %v, %v", url, byToken, byPassword)
		}
		if _, err := New(Config{URL: url}); err != nil {
			t.Errorf("%s without a credential: %v", url, err)
		}
	}
	c := newClient(t, Config{URL: "http://spawner.example:8008"})
	if _, err := c.Login(t.Context(), "ann", "secret"); err == nil || !strings.Contains(err.Error(), "ssh://") {
		t.Errorf("login: %v", err)
	}
	if _, err := New(Config{URL: "http://ann:secret@spawner.example"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("in the URL: %v", err)
	}
}

func TestABrokenURLIsRefusedWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"ftp://u:secret@host", "http://", "unix://host/path", "unix://", "ssh://", "ssh://u:secret@host", "http://u:secret@host:x", "http://u:secret@ho st"} {
		if _, err := New(Config{URL: url}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func TestCredentialsAreSentAsConfigured(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path+" "+r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, "[]")
	}))
	defer server.Close()
	for _, config := range []Config{
		{URL: server.URL + "/base/", Token: " secret\n"},
		{URL: strings.Replace(server.URL, "http://", "http://ann:pass@", 1)},
		{URL: server.URL, Username: "ann", Password: "pass"},
		{URL: server.URL},
	} {
		if _, err := newClient(t, config).Nodes(t.Context()); err != nil {
			t.Error(err)
		}
	}
	want := []string{"/base/api/nodes Bearer secret", "/api/nodes Basic YW5uOnBhc3M=", "/api/nodes Basic YW5uOnBhc3M=", "/api/nodes "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAUnixSocketIsSpokenTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode([]fleet.Node{{Name: "local"}})
	})}}
	server.Start()
	defer server.Close()
	nodes, err := newClient(t, Config{URL: "unix://" + path, Token: "secret"}).Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].Name != "local" {
		t.Errorf("got %v, %v", nodes, err)
	}
}

func TestAnEndedContextIsReturnedAsItIs(t *testing.T) {
	client, _ := answering(t, 200, `[]`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Services(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
