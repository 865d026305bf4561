package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

func TestEachVerbReachesTheEngine(t *testing.T) {
	for _, c := range []struct{ method, path, body, want string }{
		{"DELETE", "/api/services/api", "", "remove api token:admin"},
		{"POST", "/api/services/api/scale", `{"replicas":5}`, "scale-5 api token:admin"},
		{"POST", "/api/services/api/scale", `{"replicas":0}`, "scale-0 api token:admin"},
		{"POST", "/api/services/api/wake", "", "wake api token:admin"},
		{"POST", "/api/services/api/sleep", "{}", "sleep api token:admin"},
		{"POST", "/api/services/api/restart", "", "restart api token:admin"},
		{"POST", "/api/services/api/rollback", "", "rollback-0 api token:admin"},
		{"POST", "/api/services/api/rollback", `{"revision":2}`, "rollback-2 api token:admin"},
	} {
		f := newEngine()
		w := ask(t, f, c.method, c.path, c.body)
		if w.Code != http.StatusAccepted || strings.TrimSpace(w.Body.String()) != `{"service":"api","job_id":"j1"}` || w.Header().Get("Location") != "/api/jobs/j1" {
			t.Errorf("%s %s: got %d %s", c.method, c.path, w.Code, w.Body)
		}
		if diff := cmp.Diff([]string{c.want}, f.asked); diff != "" {
			t.Error(diff)
		}
	}
}

func TestABadBodyOfAVerbIsRefused(t *testing.T) {
	for _, c := range []struct{ path, body, field string }{
		{"/api/services/api/scale", `{}`, "replicas"},
		{"/api/services/api/scale", `{"replicas":null}`, "replicas"},
		{"/api/services/api/scale", `{"replicas":-1}`, "replicas"},
		{"/api/services/api/scale", `{"replicas":1001}`, "replicas"},
		{"/api/services/api/scale", `{"replicas":"5"}`, "replicas"},
		{"/api/services/api/scale", `{"replica":5}`, "replica"},
		{"/api/services/api/rollback", `{"revision":-1}`, "revision"},
		{"/api/services/api/rollback", `{"to":1}`, "to"},
		{"/api/services/api/wake", `{"now":true}`, ""},
	} {
		f := newEngine()
		w := ask(t, f, "POST", c.path, c.body)
		if got := refusalOf(t, w); w.Code != 400 || got.Field != c.field || len(f.asked) > 0 {
			t.Errorf("%s %s: got %d %s", c.path, c.body, w.Code, w.Body)
		}
	}
}

func TestListsAreNeverNull(t *testing.T) {
	for _, path := range []string{"/api/services", "/api/nodes", "/api/edges", "/api/tokens", "/api/events"} {
		if w := ask(t, newEngine(), "GET", path, ""); w.Code != 200 || strings.TrimSpace(w.Body.String()) != "[]" {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
}

func TestEnvIsRedactedUntilAnAdminAsksForIt(t *testing.T) {
	for _, path := range []string{"/api/services/api", "/api/services/api/revisions"} {
		hidden := ask(t, newEngine(), "GET", path, "")
		if hidden.Code != 200 || strings.Contains(hidden.Body.String(), "stored-secret") || !strings.Contains(hidden.Body.String(), `"KEY":"redacted"`) || !strings.Contains(hidden.Body.String(), `"Authorization":"redacted"`) {
			t.Errorf("%s: got %d %s", path, hidden.Code, hidden.Body)
		}
		refused := ask(t, newEngine(), "GET", path+"?reveal=env", "", "Authorization", "Bearer deploy")
		if refused.Code != http.StatusForbidden {
			t.Errorf("%s as deploy: got %d %s", path, refused.Code, refused.Body)
		}
		shown := ask(t, newEngine(), "GET", path+"?reveal=env", "")
		if shown.Code != 200 || !strings.Contains(shown.Body.String(), `"KEY":"stored-secret"`) || !strings.Contains(shown.Body.String(), `"Authorization":"stored-secret of a header"`) {
			t.Errorf("%s as admin: got %d %s", path, shown.Code, shown.Body)
		}
	}
}

func TestARevealedServiceDiffersInItsSecretsAlone(t *testing.T) {
	var hidden, shown map[string]any
	for target, into := range map[string]*map[string]any{"/api/services/api": &hidden, "/api/services/api?reveal=env": &shown} {
		if err := json.Unmarshal(ask(t, newEngine(), "GET", target, "").Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	for _, answer := range []map[string]any{hidden, shown} {
		spec := answer["spec"].(map[string]any)
		delete(spec, "env")
		delete(spec["health_check"].(map[string]any), "headers")
	}
	if diff := cmp.Diff(hidden, shown); diff != "" {
		t.Error(diff)
	}
}

func TestAnUnknownServiceIsNotFound(t *testing.T) {
	for _, path := range []string{"/api/services/nobody", "/api/services/nobody/revisions", "/api/services/nobody/logs"} {
		if w := ask(t, newEngine(), "GET", path, ""); w.Code != 404 {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
}

func TestACanceledJobIsAnsweredAsItIs(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "DELETE", "/api/jobs/j7", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"state":"canceled"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{"cancel j7 token:admin"}, f.asked); diff != "" {
		t.Error(diff)
	}
}

func TestATokenIsShownOnceAndStoredAsItsHash(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/tokens", `{"name":"ci","scope":"deploy","expires_in":"24h"}`)
	var made fleet.Token
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != http.StatusCreated {
		t.Fatalf("got %d %s: %v", w.Code, w.Body, err)
	}
	stored := f.tokens[0]
	if len(made.Token) < 40 || stored.Token.Token != "" || len(stored.Hash) != 64 || strings.Contains(stored.Hash, made.Token) {
		t.Errorf("made %+v, stored %+v", made, stored)
	}
	if made.ExpiresAt.Sub(made.CreatedAt).Hours() != 24 || made.Scope != fleet.ScopeDeploy {
		t.Errorf("made %+v", made)
	}
	if list := ask(t, f, "GET", "/api/tokens", ""); strings.Contains(list.Body.String(), made.Token) || !strings.Contains(list.Body.String(), `"ci"`) {
		t.Errorf("listed %s", list.Body)
	}
	if w := ask(t, f, "DELETE", "/api/tokens/ci", ""); w.Code != http.StatusNoContent {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	want := []string{
		"record access Token ci (scope deploy) made by token:admin token:admin",
		"remove-token ci", "record access Token ci removed by token:admin token:admin",
	}
	if diff := cmp.Diff(want, f.asked); diff != "" {
		t.Error(diff)
	}
}

func TestABadTokenIsRefusedByName(t *testing.T) {
	for body, field := range map[string]string{
		`{"scope":"read"}`:                                 "name",
		`{"name":"a b","scope":"read"}`:                    "name",
		`{"name":"ci","scope":"root"}`:                     "scope",
		`{"name":"ci"}`:                                    "scope",
		`{"name":"ci","scope":"read","expires_in":"-1h"}`:  "expires_in",
		`{"name":"ci","scope":"read","expires_in":"soon"}`: "expires_in",
	} {
		f := newEngine()
		w := ask(t, f, "POST", "/api/tokens", body)
		if got := refusalOf(t, w); w.Code != 400 || got.Field != field || len(f.tokens) > 0 {
			t.Errorf("%s: got %d %s", body, w.Code, w.Body)
		}
	}
}
