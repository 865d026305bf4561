package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// fakeDocker serves an engine without containers on a unix socket and returns
// its URL. It lists nothing before open is closed.
func fakeDocker(t *testing.T, open <-chan struct{}) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{
		"_ping": "OK", "version": `{"ApiVersion":"1.41"}`, "info": `{"ID":"fake","NCPU":2}`, "json": "[]",
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if call == "events" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		if call == "json" {
			<-open
		}
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answers[call])
	}))
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return "unix://" + path
}

// running is a spawner in this process.
type running struct {
	*spawner
	api, public string // URLs
	leases      *fakeLeases
	end         context.CancelFunc
	ended       chan error
}

const edgeToken = "edge-token-of-the-tests"

func start(t *testing.T) *running {
	t.Helper()
	open := make(chan struct{})
	close(open)
	return startOver(t, fakeDocker(t, open))
}

// startOver starts a spawner over an engine.
func startOver(t *testing.T, engine string) *running {
	t.Helper()
	config := DefaultConfig()
	config.StateDir, config.DockerHost = t.TempDir(), engine
	config.APIAddress, config.FallbackAddress = "127.0.0.1:0", "127.0.0.1:0"
	config.EdgeToken = edgeToken
	s, err := assemble(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &running{spawner: s, ended: make(chan error, 1)}
	s.lease, r.leases = newLease(ours)
	if _, err := s.lease.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	private, public, err := s.listen()
	if err != nil {
		t.Fatal(err)
	}
	r.api, r.public = "http://"+private.Addr().String(), "http://"+public.Addr().String()
	ctx, end := context.WithCancel(t.Context())
	r.end = end
	go func() { r.ended <- s.serve(ctx, private, public) }()
	t.Cleanup(func() {
		end()
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// get asks and returns the status and the body; 0 = no answer.
func get(client *http.Client, url, token string) (int, string) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

// awaitReady asks until the spawner says that it is ready.
func (r *running) awaitReady(t *testing.T) {
	t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for limit := time.After(10 * time.Second); ; {
		status, body := get(http.DefaultClient, r.api+"/readyz", "")
		if status == http.StatusOK {
			return
		}
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("not ready: %d %s", status, body)
		}
	}
}

func TestASpawnerThatIsToldToEndTakesNothingFromItsEdges(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	edge := &http.Client{Transport: &http.Transport{}}
	defer edge.CloseIdleConnections()
	feed := r.api + "/traefik/config?edge=main"
	if status, body := get(edge, feed, edgeToken); status != http.StatusOK || !strings.HasPrefix(body, "{") {
		t.Fatalf("the first poll got %d %s", status, body)
	}
	first := r.feed.Edges()[0].SeenAt
	polled := make(chan string, 1)
	go func() {
		status, body := get(edge, feed, edgeToken) // held, since there is nothing new
		polled <- fmt.Sprintf("%d %.40s", status, body)
	}()
	for limit := time.Now().Add(5 * time.Second); !r.feed.Edges()[0].SeenAt.After(first) && time.Now().Before(limit); {
		get(http.DefaultClient, r.api+"/healthz", "")
	}
	r.end()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it does not end")
	}
	if got := <-polled; !strings.HasPrefix(got, "503 ") && !strings.HasPrefix(got, "200 {") {
		t.Errorf("an edge got %q: 200 without a document takes all routes from it", got)
	}
	for _, url := range []string{r.api + "/healthz", r.public} {
		if status, _ := get(http.DefaultClient, url, ""); status != 0 {
			t.Errorf("%s still answers %d", url, status)
		}
	}
	if r.leases.released != 0 {
		t.Error("the lease was given back before the store was closed")
	}
	if err := r.Ready(); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("it calls itself ready: %v", err)
	}
}

// Ready is what /readyz answers.
func (r *running) Ready() error {
	_, err := r.questions().Ready()
	return err
}

func TestNobodyIsToldThatThereIsNoServiceBeforeTheServicesAreKnown(t *testing.T) {
	open := make(chan struct{})
	r := startOver(t, fakeDocker(t, open))
	if status, body := get(http.DefaultClient, r.api+"/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("before: ready %d %s", status, body)
	}
	asked := make(chan int, 1)
	go func() {
		status, _ := get(http.DefaultClient, r.public, "")
		asked <- status
	}()
	select {
	case status := <-asked:
		t.Errorf("before: answered %d", status)
	case <-time.After(100 * time.Millisecond):
	}
	close(open)
	if status := <-asked; status != http.StatusNotFound { // there is none, and now that is known
		t.Errorf("after: answered %d", status)
	}
}

func TestTheMetricsAreForReadersAndTheFeedIsForEdges(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	admin, err := os.ReadFile(filepath.Join(r.config.StateDir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(admin))
	status, body := get(http.DefaultClient, r.api+"/metrics", token)
	for _, name := range []string{"spawner_held_requests 0", "spawner_held_seconds_total 0", "spawner_fallback_redials_total 0", `spawner_fallback_outcomes_total{outcome="proxied"} 0`} {
		if status != http.StatusOK || !strings.Contains(body, "\n"+name+"\n") {
			t.Errorf("%d, without %s", status, name)
		}
	}
	for path, token := range map[string]string{"/metrics": edgeToken, "/traefik/config?edge=x": token, "/api/services": edgeToken} {
		if status, body := get(http.DefaultClient, r.api+path, token); status != http.StatusForbidden {
			t.Errorf("%s: got %d %s", path, status, body)
		}
	}
}

func TestAPartThatFailsEndsTheSpawnerAndIsNamed(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	r.leases.set(theirs)
	select {
	case err := <-r.ended:
		if err == nil || !strings.Contains(err.Error(), "lease: another spawner of this fleet has taken over: them") {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
}

func TestWhatDoesNotEndInTimeIsLeftBehindAndNamed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	forever := make(chan struct{})
	defer close(forever)
	if err := within(ctx, "the engine", func() { <-forever }); err == nil || !strings.Contains(err.Error(), "the engine did not end") {
		t.Errorf("got %v", err)
	}
}

func TestAnEngineThatIsNotThereIsOneLine(t *testing.T) {
	config := DefaultConfig()
	config.StateDir, config.DockerHost = t.TempDir(), "unix:///nowhere/docker.sock"
	err := Run(t.Context(), config, slog.New(slog.DiscardHandler))
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "no Docker socket at unix:///nowhere/docker.sock; start the engine") {
		t.Errorf("got %v", err)
	}
}

func TestASpawnerThatIsToldToEndEndsItsStreamsAndTakesNothingNew(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	admin, err := os.ReadFile(filepath.Join(r.config.StateDir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		request, err := http.NewRequest(http.MethodGet, r.api+"/api/events?follow=true", nil)
		if err != nil {
			ended <- err
			return
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(admin)))
		request.Header.Set("Accept", "text/event-stream")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			ended <- err
			return
		}
		close(begun)
		_, err = io.Copy(io.Discard, response.Body)
		ended <- errors.Join(err, response.Body.Close())
	}()
	<-begun
	r.end()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	spec := fleet.DefaultSpec()
	spec.Name, spec.Image = "web", "app:1"
	for what, ask := range map[string]func() (fleet.Accepted, error){
		"a scale":  func() (fleet.Accepted, error) { return r.engine.Scale(t.Context(), "web", 2, "tester") },
		"a deploy": func() (fleet.Accepted, error) { return r.engine.Deploy(t.Context(), spec, "tester", false) },
	} {
		if _, err := ask(); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	select {
	case <-r.engine.Park():
	default:
		t.Error("jobs are at work still")
	}
}

func TestTheBeginAndTheEndOfASpawnerAreEvents(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	r.end()
	if err := <-r.ended; err != nil {
		t.Fatal(err)
	}
	events, err := r.spawner.store.Events().List(t.Context(), fleet.EventFilter{Types: []fleet.EventType{fleet.EventSpawner}})
	if err != nil || len(events) != 2 || events[0].Message != "The spawner began" || events[1].Message != "The spawner ends: it was told to" {
		t.Errorf("recorded %+v, %v", events, err)
	}
}
