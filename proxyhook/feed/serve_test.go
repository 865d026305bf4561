package feed

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
)

func TestAPollIsHeldHalfASecondAndThenGetsTheSameDocument(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{})
		s.put("blog", "blog", 1)
		edge := (&traefik{stage: s, name: "main"}).start()
		time.Sleep(5100 * time.Millisecond)
		edge.mu.Lock()
		defer edge.mu.Unlock()
		if len(edge.documents) != 1 || len(edge.codes) != 10 {
			t.Errorf("%d documents in %d answers, want 1 in 10", len(edge.documents), len(edge.codes))
		}
	})
}

func TestWithoutStateAPollIsHeldFourSecondsAndThenRefused(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{})
		edge := (&traefik{stage: s, name: "main"}).start()
		time.Sleep(4200 * time.Millisecond)
		edge.mu.Lock()
		if want := []int{503}; !cmp.Equal(edge.codes, want) || edge.lengths[0] != "0" {
			t.Errorf("got %v with lengths %v", edge.codes, edge.lengths)
		}
		edge.mu.Unlock()
		time.Sleep(time.Second)
		s.put("blog", "blog", 1)
		time.Sleep(50 * time.Millisecond)
		if got := edge.routes("blog"); got != "blog r1" {
			t.Errorf("%q is in force", got)
		}
	})
}

func TestWhatIsNoPollIsRefused(t *testing.T) {
	f := New(Config{})
	for target, want := range map[string]int{"/traefik/config": 400, "/traefik/config?edge=": 400, "/traefik/config?edge=a%2Fb": 400} {
		recorder := httptest.NewRecorder()
		f.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, target, nil))
		if recorder.Code != want {
			t.Errorf("GET %s answers %d, want %d", target, recorder.Code, want)
		}
	}
	recorder := httptest.NewRecorder()
	f.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/traefik/config?edge=main", nil))
	if recorder.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST answers %d", recorder.Code)
	}
}

func TestAPollThatTheEndOfTheServerCutsOffIsNoEmptyDocument(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{})
		s.put("blog", "blog", 1)
		ctx, end := context.WithCancel(s.feed.ConnContext(t.Context(), nil))
		poll := func() *httptest.ResponseRecorder {
			recorder := httptest.NewRecorder()
			s.feed.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/traefik/config?edge=main", nil).WithContext(ctx))
			return recorder
		}
		if first := poll(); first.Code != 200 || first.Body.Len() == 0 {
			t.Fatalf("the first poll got %d with %d bytes", first.Code, first.Body.Len())
		}
		time.AfterFunc(holdTime/2, end)
		if cut := poll(); cut.Code != 503 {
			t.Errorf("a poll that was cut off got %d with %d bytes, want 503", cut.Code, cut.Body.Len())
		}
	})
}

func TestTheDocumentIsPlainJSONForWhoDoesNotAskForGzip(t *testing.T) {
	f := New(Config{Settings: proxyhook.Settings{FallbackURL: "http://fallback:8000", EdgeSecret: "s", ProbeHost: probeHost}})
	server := httptest.NewUnstartedServer(f)
	server.Config.ConnContext = f.ConnContext
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = f.Run(ctx) })
	defer running.Wait()
	defer cancel()
	f.Publish(&fleet.Snapshot{Version: 1})
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	response, err := client.Get(server.URL + "/traefik/config?edge=main")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || len(body) == 0 || int64(len(body)) != response.ContentLength || response.Header.Get("Content-Encoding") != "" {
		t.Errorf("%d bytes, Content-Length %d, %v: %v", len(body), response.ContentLength, response.Header, err)
	}
	if body[0] != '{' || response.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %.100s", body)
	}
	if f.Matcher() == nil {
		t.Error("no matcher")
	}
}

func TestPublishingWhileEdgesPollRacesWithNothing(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Settings: both, Edges: []EdgeAddress{address("a"), address("b")}})
		(&traefik{stage: s, name: "a", takes: 3 * time.Millisecond}).start()
		(&traefik{stage: s, name: "b", takes: 5 * time.Millisecond}).start()
		var waiting sync.WaitGroup
		for i := range 300 {
			version := s.put("blog", "blog", i)
			waiting.Go(func() {
				if _, err := s.feed.Confirmed(s.ctx, version); err != nil {
					t.Error(err)
				}
				_ = s.feed.Edges()
				_ = s.feed.Addresses()
			})
			if i%7 == 0 {
				time.Sleep(3 * time.Millisecond)
			}
		}
		waiting.Wait()
	})
}
