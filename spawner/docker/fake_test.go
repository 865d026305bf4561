package docker

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"edgespawner/fleet"
)

// fakeEngine answers as an engine would, by method and path without the version.
type fakeEngine struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	calls   []string
}

var versionPrefix = regexp.MustCompile(`^/v[0-9.]+`)

func newFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	f := &fakeEngine{answers: make(map[string]http.HandlerFunc)}
	f.on("GET /version", http.StatusOK, map[string]string{"ApiVersion": "1.41"})
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() { f.CloseClientConnections(); f.Server.Close() })
	return f
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/_ping") {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Ostype", "linux")
		return
	}
	call := r.Method + " " + versionPrefix.ReplaceAllString(r.URL.Path, "")
	f.mu.Lock()
	f.calls = append(f.calls, call)
	answer, ok := f.answers[call]
	f.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "page not found: "+call)
		return
	}
	answer(w, r)
}

// handle sets what a call does.
func (f *fakeEngine) handle(call string, answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[call] = answer
}

// on sets a call's answer: a value, or with a string the engine's message.
func (f *fakeEngine) on(call string, status int, answer any) {
	f.handle(call, func(w http.ResponseWriter, _ *http.Request) {
		if message, ok := answer.(string); ok {
			refuse(w, status, message)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if answer != nil {
			json.NewEncoder(w).Encode(answer)
		}
	})
}

// count is how often a call was made.
func (f *fakeEngine) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, made := range f.calls {
		if made == call {
			n++
		}
	}
	return n
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": message})
}

// pool is one with the fake as its node "local".
func (f *fakeEngine) pool(t *testing.T) *Pool {
	t.Helper()
	p := New("f1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	p.loginFile = ""
	p.bounds = bounds{start: time.Minute, fallback: time.Minute, pull: time.Minute, check: time.Minute}
	if err := p.Add(fleet.Node{Name: "local", Endpoint: "tcp://" + f.Listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// wantError checks kind, field and a part of the message.
func wantError(t *testing.T, err error, kind fleet.Kind, field, part string) {
	t.Helper()
	var seen *fleet.Error
	if !errors.As(err, &seen) {
		t.Errorf("got %v, want an error of kind %s", err, kind)
		return
	}
	if seen.Kind != kind || seen.Field != field || !strings.Contains(seen.Message, part) {
		t.Errorf("got %s %q: %q, want %s %q: …%s…", seen.Kind, seen.Field, seen.Message, kind, field, part)
	}
}
