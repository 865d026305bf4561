package activity

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// edge is a Prometheus page whose counter of the service api is set by hand.
func edge(t *testing.T, count, status *atomic.Int64) Page {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		fmt.Fprintf(w, "# TYPE traefik_service_requests_total counter\n")
		fmt.Fprintf(w, "traefik_service_requests_total{code=\"200\",method=\"GET\",protocol=\"http\",service=\"api-r1-app@http\"} %d\n", count.Load())
		fmt.Fprintf(w, "traefik_service_requests_total{code=\"200\",method=\"GET\",protocol=\"http\",service=\"other@docker\"} 7\n")
	}))
	t.Cleanup(server.Close)
	return Page{Edge: "main", URL: server.URL}
}

func refreshed(t *testing.T, r *Reader) {
	t.Helper()
	if err := r.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestARequestIsSeenWhenACounterMoves(t *testing.T) {
	var count, status atomic.Int64
	status.Store(200)
	count.Store(5)
	page := edge(t, &count, &status)
	r := New(Config{Edges: func() []Page { return []Page{page} }})
	if _, known := r.LastRequest("api"); known {
		t.Error("something is known before an edge was read")
	}
	refreshed(t, r)
	if at, known := r.LastRequest("api"); !known || !at.IsZero() {
		t.Errorf("after the first look: %v, %v; want nothing seen", at, known)
	}
	refreshed(t, r)
	if at, _ := r.LastRequest("api"); !at.IsZero() {
		t.Error("a counter that stood still was taken for a request")
	}
	count.Add(1)
	refreshed(t, r)
	first, _ := r.LastRequest("api")
	if first.IsZero() {
		t.Error("a counter that moved was not seen")
	}
	count.Store(2) // the edge was restarted
	refreshed(t, r)
	if second, _ := r.LastRequest("api"); !second.After(first) {
		t.Error("a counter that began anew was not taken for requests")
	}
}

func TestNothingIsKnownWhileAnEdgeCannotBeRead(t *testing.T) {
	var count, status atomic.Int64
	status.Store(200)
	page := edge(t, &count, &status)
	r := New(Config{Edges: func() []Page { return []Page{page} }})
	refreshed(t, r)
	status.Store(503)
	if err := r.Refresh(context.Background()); err == nil {
		t.Error("an edge that answers 503 was read")
	}
	if _, known := r.LastRequest("api"); known {
		t.Error("something is known of an edge that cannot be read")
	}
}

func TestWithoutEdgesEverythingIsKnownAndNothingWasSeen(t *testing.T) {
	r := New(Config{Edges: func() []Page { return nil }})
	refreshed(t, r)
	if at, known := r.LastRequest("api"); !known || !at.IsZero() {
		t.Errorf("got %v, %v", at, known)
	}
}
