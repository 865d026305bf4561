package stand

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Collector counts the ids that the apps of a load have executed. It stands
// outside of them, so that the count outlives their stops and deploys.
type Collector struct {
	URL string // for the env IDS_URL of mock-app

	mu     sync.Mutex
	counts map[string]int // guarded by mu
}

// StartCollector listens on the gateway of the fleet's network, where apps reach it.
func (s *Stand) StartCollector() *Collector {
	s.t.Helper()
	gateway := Docker(s.t, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", s.Network)
	// Some engines answer it with the length of the subnet's prefix.
	gateway, _, _ = strings.Cut(gateway, "/")
	listener, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	must(s.t, err, "listen on the gateway of %s", s.Network)
	c := &Collector{URL: "http://" + listener.Addr().String() + "/", counts: map[string]int{}}
	server := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); err != http.ErrServerClosed {
			s.t.Logf("the collector ended: %v", err)
		}
	}()
	s.t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			s.t.Logf("cannot stop the collector: %v", err)
		}
		<-served
	})
	return c
}

// ServeHTTP counts the id in the body.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := io.ReadAll(io.LimitReader(r.Body, 1024))
	if err != nil {
		http.Error(w, "cannot read the id", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[string(id)]++
}

// Counts returns how often each id came.
func (c *Collector) Counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := make(map[string]int, len(c.counts))
	for id, count := range c.counts {
		counts[id] = count
	}
	return counts
}
