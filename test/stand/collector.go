package stand

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
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

// StartCollector listens on the gateway of the engine's own bridge: an address
// of this host that exists before the fleet's network and that apps reach.
func (s *Stand) StartCollector() *Collector {
	s.t.Helper()
	gateway := bridgeAddress(s.t)
	listener, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	must(s.t, err, "listen on %s", gateway)
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

// bridgeAddress returns this host's address on the engine's own bridge: the
// first of its subnet, which engines give to the gateway and do not always name.
func bridgeAddress(t T) string {
	t.Helper()
	subnet := Docker(t, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", "bridge")
	prefix, err := netip.ParsePrefix(subnet)
	must(t, err, "read the subnet of the engine's bridge")
	return prefix.Masked().Addr().Next().String()
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
