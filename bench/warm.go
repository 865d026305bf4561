package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// Of the warm path: connections, and how long one measurement lasts.
const (
	warmClients = 16
	warmTime    = time.Second
	warmRounds  = 12 // at least; pairs for a ratio on a noisy machine
)

// warm compares req/s through the edge with failover and without it against a
// plain route of the same Traefik to the same app, and the plain route against
// itself as the noise; then an app of two replicas with failover against a plain
// route to both. All are measured in turn.
func warm(b *bench) {
	s := stand.Start(b)
	with, without, two := s.MockApp("with", "with.test"), s.MockApp("without", "without.test"), s.MockApp("two", "two.test")
	without.Route.Failover = new(bool)
	two.Replicas = 2
	for _, app := range []fleet.Spec{with, without, two} {
		s.Deploy(app)
	}
	b.plainRoute(s, "plain", s.Service("with"))
	b.plainRoute(s, "plain-two", s.Service("two"))
	hosts := []string{"plain.test", "with.test", "without.test", "plain.test", "plain-two.test", "two.test"}
	rates := make([][]float64, len(hosts))
	for _, host := range hosts { // warm up
		b.rate(s, host)
	}
	for round := range max(warmRounds, b.rounds) {
		for i := range hosts { // each round begins elsewhere
			at := (round + i) % len(hosts)
			rates[at] = append(rates[at], b.rate(s, hosts[at]))
		}
	}
	b.show("plain Traefik route", median(rates[0]), "req/s", spread(rates[0]))
	noise := ratios(rates[3], rates[0])
	b.show("noise: the plain route against itself", median(noise), "×", spread(noise))
	failover := ratios(rates[1], rates[0])
	b.atLeast("failover on against the plain route", median(failover), 0.93, "×", spread(failover))
	plain := ratios(rates[2], rates[0])
	b.atLeast("failover off against the plain route", median(plain), 0.97, "×", spread(plain))
	replicas := ratios(rates[5], rates[4])
	b.atLeast("failover on, two replicas, against a plain route to both", median(replicas), 0.93, "×", spread(replicas))
}

// plainRoute adds a route NAME.test to a service's replicas to the edge, of which the spawner knows nothing.
func (b *bench) plainRoute(s *stand.Stand, name string, service fleet.ServiceDetail) {
	var servers []string
	for _, container := range service.Detail {
		servers = append(servers, fmt.Sprintf("{url: %q}", "http://"+container.Address+":9000"))
	}
	text := fmt.Sprintf(`http:
  routers:
    %[1]s: {rule: "Host(`+"`%[1]s.test`"+`)", entryPoints: [web], service: %[1]s, priority: 1000}
  services:
    %[1]s: {loadBalancer: {servers: [%[2]s]}}
`, name, strings.Join(servers, ", "))
	path := filepath.Join(s.Dir, s.Edges[0].Name+"-dynamic", name+".yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatalf("cannot write the plain route: %v", err)
	}
	stand.Eventually(b, 10*time.Second, "the plain route is there", func() error {
		if answer := s.Get(name+".test", "/status"); answer.Status != http.StatusOK {
			return fmt.Errorf("it answers %d", answer.Status)
		}
		return nil
	})
}

// rate asks as fast as warmClients can for warmTime, and returns requests a second.
func (b *bench) rate(s *stand.Stand, host string) float64 {
	transport := s.Edges[0].Transport()
	transport.MaxIdleConnsPerHost = warmClients
	defer transport.CloseIdleConnections()
	var done, bad atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range warmClients {
		group.Go(func() {
			for time.Since(began) < warmTime {
				request, err := http.NewRequest("GET", "http://"+host+"/status", nil)
				if err != nil {
					bad.Add(1)
					return
				}
				response, err := transport.RoundTrip(request)
				if err != nil {
					bad.Add(1)
					continue
				}
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK {
					bad.Add(1)
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	if bad.Load() > 0 {
		b.Fatalf("%s: %d of %d requests failed", host, bad.Load(), done.Load())
	}
	return float64(done.Load()) / time.Since(began).Seconds()
}
