package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

func TestADeployIsAcceptedInTheCallersName(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/deploy", `{"name":"web","image":"app:2"}`)
	if w.Code != http.StatusAccepted || strings.TrimSpace(w.Body.String()) != `{"service":"web","revision":1,"job_id":"j1"}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{"deploy web token:admin"}, f.asked); diff != "" {
		t.Error(diff)
	}
}

func TestAForcedDeployIsForced(t *testing.T) {
	f := newEngine()
	ask(t, f, "POST", "/api/deploy?force=true", `{"name":"web","image":"app:2"}`)
	if diff := cmp.Diff([]string{"force-deploy web token:admin"}, f.asked); diff != "" {
		t.Error(diff)
	}
}

func TestADeployThatChangesNothingIsNoJob(t *testing.T) {
	w := ask(t, newEngine(), "POST", "/api/deploy?wait=10s", `{"name":"web","image":"unchanged"}`)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"unchanged":true`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestADryRunAnswersThePlanAndDeploysNothing(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/deploy?dry_run=true", `{"name":"web","image":"app:2"}`)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"steps":[]`) || len(f.deploys) > 0 {
		t.Errorf("got %d %s, deployed %v", w.Code, w.Body, f.deploys)
	}
}

func TestAWaitedDeployAnswersTheJobAtItsEnd(t *testing.T) {
	f := newEngine()
	close(f.ended)
	w := ask(t, f, "POST", "/api/deploy?wait=60s", `{"name":"web","image":"app:2"}`)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"state":"succeeded"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestAWaitThatIsOverAnswersTheJobAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newEngine()
		f.job.State = fleet.JobRunning
		began := time.Now()
		w := ask(t, f, "POST", "/api/services/api/restart?wait=60s", "")
		if w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), `"state":"running"`) {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("answered after %s", took)
		}
	})
}

func TestAMergedDeployChangesOnlyWhatItNames(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/deploy?merge=true", `{"name":"api","image":"app:2","env":{"NEW":"1"}}`)
	if w.Code != http.StatusAccepted {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	want := f.specs["api"]
	want.Image = "app:2"
	want.Env = map[string]fleet.Secret{"KEY": "stored-secret", "OTHER": "kept", "NEW": "1"}
	if diff := cmp.Diff(want, f.deploys[0]); diff != "" {
		t.Error(diff)
	}
	if len(f.specs["api"].Env) != 2 {
		t.Error("the stored spec was changed by the merge")
	}
}

func TestAMergedDeployTakesOutWhatIsNull(t *testing.T) {
	f := newEngine()
	ask(t, f, "POST", "/api/deploy?merge=true", `{"name":"api","env":{"KEY":null,"NEVER":null}}`)
	want := f.specs["api"]
	want.Env = map[string]fleet.Secret{"OTHER": "kept"}
	if diff := cmp.Diff([]fleet.Spec{want}, f.deploys); diff != "" {
		t.Error(diff)
	}
}

func TestAMergedDeployOfANewServiceStartsFromTheDefaults(t *testing.T) {
	f := newEngine()
	ask(t, f, "POST", "/api/deploy?merge=true", `{"name":"web","image":"app:2"}`)
	want := fleet.DefaultSpec()
	want.Name, want.Image = "web", "app:2"
	if diff := cmp.Diff([]fleet.Spec{want}, f.deploys); diff != "" {
		t.Error(diff)
	}
}

func TestAValueThatReadsRedactedKeepsTheStoredOne(t *testing.T) {
	for _, query := range []string{"", "?merge=true"} {
		f := newEngine()
		ask(t, f, "POST", "/api/deploy"+query, `{"name":"api","image":"app:2","env":{"KEY":"redacted","OTHER":"new"}}`)
		if got := f.deploys[0].Env; got["KEY"].Reveal() != "stored-secret" || got["OTHER"].Reveal() != "new" {
			t.Errorf("%q: got KEY %q OTHER %q", query, got["KEY"].Reveal(), got["OTHER"].Reveal())
		}
	}
}

func TestAHeaderOfACheckThatReadsRedactedKeepsTheStoredOne(t *testing.T) {
	for _, query := range []string{"", "?merge=true"} {
		f := newEngine()
		ask(t, f, "POST", "/api/deploy"+query, `{"name":"api","image":"app:2","health_check":{"type":"http","endpoint":"http://localhost/","headers":{"Authorization":"redacted","X-Other":"new"}}}`)
		if got := f.deploys[0].HealthCheck.Headers; got["Authorization"].Reveal() != "stored-secret of a header" || got["X-Other"].Reveal() != "new" {
			t.Errorf("%q: got %v", query, fleet.RevealAll(got))
		}
	}
	w := ask(t, newEngine(), "POST", "/api/deploy", `{"name":"api","image":"app","health_check":{"type":"http","endpoint":"http://localhost/","headers":{"X-Nope":"redacted"}}}`)
	if got := refusalOf(t, w); w.Code != 400 || got.Field != "health_check.headers.X-Nope" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestAMergedCheckOfAnotherTypeLeavesWhatItHasNoUseFor(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/deploy?merge=true", `{"name":"api","health_check":{"type":"tcp"}}`)
	want := fleet.HealthCheck{Type: fleet.CheckTCP}.WithDefaults()
	if w.Code != 202 || cmp.Diff(&want, f.deploys[0].HealthCheck) != "" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestRedactedWithoutAStoredValueIsRefused(t *testing.T) {
	for _, name := range []string{"api", "web"} {
		w := ask(t, newEngine(), "POST", "/api/deploy", `{"name":"`+name+`","image":"app","env":{"NOPE":"redacted"}}`)
		if got := refusalOf(t, w); w.Code != 400 || got.Field != "env.NOPE" {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
}

func TestABadDeployIsRefusedByNameAndChangesNothing(t *testing.T) {
	for body, field := range map[string]string{
		`{"name":"api","image":"app","colour":"red"}`:                                                "colour",
		`{"name":"api","image":"app","sleep":{"after":"ten"}}`:                                       "sleep.after",
		`{"name":"api","image":"app","health_check":{"type":"tcp","interval":"5"}}`:                  "health_check.interval",
		`{"name":"api","image":"app","ports":[{"container_port":80},{"container_port":80,"prt":1}]}`: "ports[1].prt",
		`{"name":"api","image":"app","env":{"KEY":1}}`:                                               "env.KEY",
		`{"name":"api","image":"app","replicas":-1}`:                                                 "replicas",
		`{"name":"-","image":"app"}`:                                                                 "name",
		`{"name":"api","image":"app"} {}`:                                                            "",
		`[]`:                                                                                         "",
		`{`:                                                                                          "",
	} {
		f := newEngine()
		w := ask(t, f, "POST", "/api/deploy", body)
		if got := refusalOf(t, w); w.Code != 400 || got.Kind != fleet.Invalid || got.Field != field || len(f.asked) > 0 {
			t.Errorf("%s: got %d %s, want field %q; asked %v", body, w.Code, w.Body, field, f.asked)
		}
	}
}

func TestAWrongContentTypeIsRefusedByName(t *testing.T) {
	for _, media := range []string{"application/x-www-form-urlencoded", "text/plain", "application/yaml", ""} {
		f := newEngine()
		w := ask(t, f, "POST", "/api/deploy", `{"name":"api","image":"app"}`, "Content-Type", media)
		if got := refusalOf(t, w); w.Code != 400 || got.Field != "Content-Type" || len(f.asked) > 0 {
			t.Errorf("%q: got %d %s", media, w.Code, w.Body)
		}
	}
	w := ask(t, newEngine(), "POST", "/api/deploy", `{"name":"api","image":"app"}`, "Content-Type", "application/json; charset=utf-8")
	if w.Code != http.StatusAccepted {
		t.Errorf("with a charset: got %d %s", w.Code, w.Body)
	}
}

func TestABodyOverTheLimitIsTooLarge(t *testing.T) {
	body := `{"name":"api","image":"app","user":"` + strings.Repeat("x", fleet.MaxSpecSize) + `"}`
	w := ask(t, newEngine(), "POST", "/api/deploy", body)
	if got := refusalOf(t, w); w.Code != 413 || got.Kind != fleet.TooLarge {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestAParameterThatIsUnknownOrBrokenIsRefusedByName(t *testing.T) {
	for target, field := range map[string]string{
		"POST /api/deploy?wiat=60s":                "wiat",
		"POST /api/deploy?wait=60":                 "wait",
		"POST /api/deploy?wait=-1s":                "wait",
		"POST /api/deploy?wait=2h":                 "wait",
		"POST /api/deploy?force=perhaps":           "force",
		"POST /api/deploy?force=true&force=true":   "force",
		"GET /api/services?name=x":                 "name",
		"GET /api/jobs?limit=0":                    "limit",
		"GET /api/events?after=-1":                 "after",
		"GET /api/events?since=yesterday":          "since",
		"GET /api/services/api/logs?tail=many":     "tail",
		"GET /api/services/api/logs?follow=always": "follow",
		"GET /api/services/api?reveal=all":         "reveal",
	} {
		method, path, _ := strings.Cut(target, " ")
		w := ask(t, newEngine(), method, path, "")
		if got := refusalOf(t, w); w.Code != 400 || got.Field != field {
			t.Errorf("%s: got %d %s, want field %q", target, w.Code, w.Body, field)
		}
	}
}

// FuzzDeploy holds that a body is either accepted as a valid spec or refused as invalid.
func FuzzDeploy(f *testing.F) {
	f.Add(`{"name":"api","image":"app"}`, false)
	f.Add(`{"name":"api","image":"app:2","env":{"KEY":"redacted","A":"b"},"route":{"hosts":["a.example"]}}`, true)
	f.Add(`{"name":"api","image":"app","ports":[{"container_port":80,"host_port":80}],"health_check":{"type":"tcp","interval":"1s"}}`, true)
	f.Add(`{"name":"api","image":"app","labels":null,"route":null}{}`, false)
	f.Fuzz(func(t *testing.T, body string, merge bool) {
		engine := newEngine()
		target := "/api/deploy"
		if merge {
			target += "?merge=true"
		}
		r := httptest.NewRequest("POST", target, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer deploy")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		newAPI(engine).ServeHTTP(w, r)
		switch w.Code {
		case http.StatusAccepted:
			if err := engine.deploys[0].Validate(); err != nil {
				t.Errorf("accepted %q: %v", body, err)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if len(engine.deploys) > 0 {
				t.Errorf("refused and deployed %q", body)
			}
		default:
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
