package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

func TestEveryRouteAsksForItsScopeAndForNoOther(t *testing.T) {
	a := newAPI(newEngine())
	for _, rt := range a.routes() {
		if rt.own {
			continue // its handler's own tests ask
		}
		for _, held := range []fleet.Scope{"", fleet.ScopeAdmin, fleet.ScopeDeploy, fleet.ScopeRead, fleet.ScopeEdge} {
			t.Run(fmt.Sprintf("%s %s as %q", rt.method, rt.path, held), func(t *testing.T) {
				want := 0 // neither 401 nor 403
				switch {
				case rt.scope == open || slices.Contains(included[held], rt.scope):
				case held == "":
					want = http.StatusUnauthorized
				default:
					want = http.StatusForbidden
				}
				w := callAs(t, a, rt, held)
				refused := w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden
				if want == 0 && refused || want != 0 && w.Code != want {
					t.Errorf("got %d %s, want %d", w.Code, w.Body, want)
				}
			})
		}
	}
}

func callAs(t *testing.T, a *API, rt route, held fleet.Scope) *httptest.ResponseRecorder {
	t.Helper()
	path := strings.NewReplacer(":name", "nobody", ":id", "nothing").Replace(rt.path)
	r := httptest.NewRequest(rt.method, path, nil)
	if held != "" {
		r.Header.Set("Authorization", "Bearer "+string(held))
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func TestOnlyTheProbesAndTheDescriptionAreOpen(t *testing.T) {
	var got []string
	for _, rt := range newAPI(newEngine()).routes() {
		if rt.scope == open {
			got = append(got, rt.method+" "+rt.path)
		}
	}
	want := []string{"GET /api/openapi.json", "GET /healthz", "GET /readyz", "POST /login", "POST /login/"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHandedInHandlersAreMounted(t *testing.T) {
	a := newAPI(newEngine())
	for _, rt := range a.mounted() {
		if w := callAs(t, a, rt, rt.scope); w.Body.String() != "handed in" {
			t.Errorf("%s %s: got %d %s", rt.method, rt.path, w.Code, w.Body)
		}
	}
}

func TestWhatIsNotThereIsSaidInJSON(t *testing.T) {
	for target, want := range map[string]int{
		"GET /api/nothing":    404,
		"GET /api/services/":  404,
		"GET /":               404,
		"PUT /api/deploy":     405,
		"OPTIONS /api/deploy": 405,
		"DELETE /healthz":     405,
	} {
		method, path, _ := strings.Cut(target, " ")
		w := ask(t, newEngine(), method, path, "")
		if w.Code != want || refusalOf(t, w).Message == "" {
			t.Errorf("%s: got %d %s, want %d", target, w.Code, w.Body, want)
		}
		if want == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s: no Allow", target)
		}
	}
}

func refusalOf(t *testing.T, w *httptest.ResponseRecorder) *fleet.Error {
	t.Helper()
	var answer errorAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Error == nil {
		t.Fatalf("%d %s is no refusal: %v", w.Code, w.Body, err)
	}
	return answer.Error
}

func TestAPageOfAnotherSiteIsRefused(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/services/api/sleep", "", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site")
	if w.Code != http.StatusForbidden || len(f.asked) > 0 {
		t.Errorf("got %d %s, asked %v", w.Code, w.Body, f.asked)
	}
}

func TestEveryKindOfErrorHasItsStatus(t *testing.T) {
	for kind, status := range map[fleet.Kind]int{
		fleet.Invalid: 400, fleet.Unauthorized: 401, fleet.Forbidden: 403, fleet.NotFound: 404, fleet.Conflict: 409,
		fleet.TooLarge: 413, fleet.Busy: 429, fleet.Unavailable: 503, fleet.Internal: 500,
	} {
		f := newEngine()
		f.err = fmt.Errorf("cannot wake: %w", &fleet.Error{Kind: kind, Message: "because", Field: "name", RetryAfter: 1500 * time.Millisecond})
		w := ask(t, f, "POST", "/api/services/api/wake", "")
		got := refusalOf(t, w)
		if w.Code != status || got.Kind != kind {
			t.Errorf("%s: got %d %s, want %d", kind, w.Code, w.Body, status)
		}
		if kind != fleet.Internal && (got.Message != "because" || got.Field != "name" || w.Header().Get("Retry-After") != "2") {
			t.Errorf("%s: got %s, Retry-After %q", kind, w.Body, w.Header().Get("Retry-After"))
		}
	}
}

func TestAnyOtherErrorIsAnsweredAsInternalAndNotShown(t *testing.T) {
	f := newEngine()
	f.err = errors.New("the password is secret")
	w := ask(t, f, "GET", "/api/nodes", "")
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"internal error"`) || strings.Contains(w.Body.String(), "password") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestSeveralMistakesAreAllNamed(t *testing.T) {
	w := ask(t, newEngine(), "POST", "/api/deploy", `{"name":"api","image":"app","replicas":-1,"sleep":{"after":"soon"},"colour":1}`)
	got := refusalOf(t, w)
	if w.Code != 400 || got.Field == "" || !strings.Contains(got.Message, "colour") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestAProbeMayAskByHEAD(t *testing.T) {
	for target, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/api/services": 405} {
		f := newEngine()
		f.loading = fleet.Errorf(fleet.Unavailable, "the engine local was not listed yet")
		if w := ask(t, f, "HEAD", target, ""); w.Code != want {
			t.Errorf("HEAD %s: got %d, want %d", target, w.Code, want)
		}
	}
}

func TestARequestThatTheEndOfTheServerCutsOffIsNotAnswered200(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	f := newEngine()
	f.lines = func(ctx context.Context, line func(fleet.LogLine) error) error {
		if err := line(fleet.LogLine{Replica: "api-0", Text: "hello"}); err != nil {
			return err
		}
		return ctx.Err()
	}
	end()
	const ending = "the spawner is being shut down"
	for target, want := range map[string]struct {
		code int
		says string
	}{
		"GET /api/jobs/j1?wait=1m":         {503, ending},
		"DELETE /api/services/api?wait=1m": {202, `"job_id":"j1"`}, // it was accepted, and is done at the next start
		"GET /api/services/api/logs":       {200, ending},
	} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, path, nil).WithContext(ctx)
		r.Header.Set("Authorization", "Bearer admin")
		w := httptest.NewRecorder()
		newAPI(f).ServeHTTP(w, r)
		if w.Code != want.code || !strings.Contains(w.Body.String(), want.says) {
			t.Errorf("%s: got %d %s, want %d %s", target, w.Code, w.Body, want.code, want.says)
		}
	}
}

func TestUntilTheStateIsLoadedNothingIsSaidOfServices(t *testing.T) {
	f := newEngine()
	f.loading = fleet.Errorf(fleet.Unavailable, "the state is being loaded")
	for _, target := range []string{"GET /api/services", "GET /api/services/api", "GET /api/jobs/j1", "DELETE /api/services/api", "GET /deploy/"} {
		method, path, _ := strings.Cut(target, " ")
		w := ask(t, f, method, path, "")
		if w.Code != 503 || w.Header().Get("Retry-After") != "1" || refusalOf(t, w).Message != "the state is being loaded" {
			t.Errorf("%s: got %d %s", target, w.Code, w.Body)
		}
	}
	if w := ask(t, f, "POST", "/api/deploy", `{"name":"web","image":"app:2"}`); w.Code != 503 || len(f.deploys) > 0 {
		t.Errorf("a deploy got %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/healthz", "/api/tokens", "/api/edges", "/metrics", "/traefik/config?edge=main"} {
		held := "admin"
		if strings.HasPrefix(path, "/traefik") {
			held = "edge"
		}
		if w := ask(t, f, "GET", path, "", "Authorization", "Bearer "+held); w.Code != 200 {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
	}
	if w := ask(t, f, "GET", "/api/services", "", "Authorization", ""); w.Code != 401 {
		t.Errorf("without a credential: got %d", w.Code)
	}
}

func TestReadinessSaysWhatIsWaitedFor(t *testing.T) {
	f := newEngine()
	if w := ask(t, f, "GET", "/readyz", ""); w.Code != 200 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	f.loading = fleet.Errorf(fleet.Unavailable, "the engine local was not listed yet")
	if w := ask(t, f, "GET", "/readyz", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "not listed") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	f.loading = errors.New("secret")
	if w := ask(t, f, "GET", "/readyz", ""); w.Code != 503 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
