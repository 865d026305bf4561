package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
// itself as the noise. The four are measured in turn.
func warm(b *bench) {
	s := stand.Start(b)
	with, without := s.MockApp("with", "with.test"), s.MockApp("without", "without.test")
	without.Route.Failover = new(bool)
	s.Deploy(with)
	s.Deploy(without)
	address := s.Service("with").Detail[0].Address
	b.plainRoute(s, "plain.test", "http://"+address+":9000")
	hosts := []string{"plain.test", "with.test", "without.test", "plain.test"}
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
}

// plainRoute adds a route to the edge that the spawner knows nothing of.
func (b *bench) plainRoute(s *stand.Stand, host, url string) {
	text := fmt.Sprintf(`http:
  routers:
    plain: {rule: "Host(`+"`%s`"+`)", entryPoints: [web], service: plain, priority: 1000}
  services:
    plain: {loadBalancer: {servers: [{url: %q}]}}
`, host, url)
	path := filepath.Join(s.Dir, s.Edges[0].Name+"-dynamic", "plain.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatalf("cannot write the plain route: %v", err)
	}
	stand.Eventually(b, 10*time.Second, "the plain route is there", func() error {
		if answer := s.Get(host, "/status"); answer.Status != http.StatusOK {
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

// crash kills an app -9 and measures until a request is answered again, and
// until the engine has been told to start it.
func crash(b *bench) {
	s := stand.Start(b)
	var begun, serving []float64
	for n := range min(8, b.rounds) { // each crashes once: a second time in a row is answered with back-off
		name := fmt.Sprintf("crashing-x%d", n)
		s.Deploy(s.MockApp(name, name+".test"))
		app := s.App(name)
		killed := time.Now()
		b.call("POST", "/containers/"+app+"/kill?signal=KILL", nil, nil)
		serving = append(serving, milliseconds(b.firstByteSince(s, name+".test", killed)))
		begun = append(begun, milliseconds(b.restarted(app, killed).Sub(killed)))
	}
	b.atMost("crash to the app's new start, as the engine dates it, max", percentile(begun, 1), 250, "ms", spread(begun))
	b.show("crash to the first answer, median", median(serving), "ms", spread(serving))
}

// restarted waits until the engine says that the app began a life after that moment.
func (b *bench) restarted(app string, after time.Time) time.Time {
	var seen struct{ State struct{ StartedAt time.Time } }
	stand.Eventually(b, 10*time.Second, "the app is started again", func() error {
		b.call("GET", "/containers/"+app+"/json", nil, &seen)
		if !seen.State.StartedAt.After(after) {
			return fmt.Errorf("it runs since %s", seen.State.StartedAt)
		}
		return nil
	})
	return seen.State.StartedAt
}

// firstByteSince asks once; the fallback router holds the request until the app serves again.
func (b *bench) firstByteSince(s *stand.Stand, host string, since time.Time) time.Duration {
	b.firstByte(s, host)
	return time.Since(since)
}

// upload sends 1 GB through the edge to a service with failover, and looks at
// what the edge's memory grew by.
func upload(b *bench) {
	const size = 1 << 30
	s := stand.Start(b)
	s.Deploy(s.MockApp("uploads", "uploads.test"))
	before := b.memoryOf(s.Edges[0].PID())
	peak := before
	watch := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-watch:
				return
			case <-time.After(50 * time.Millisecond):
				peak = max(peak, b.memoryOf(s.Edges[0].PID()))
			}
		}
	}()
	request, err := http.NewRequest("POST", "http://uploads.test/upload", io.LimitReader(zeros{}, size))
	if err != nil {
		b.Fatalf("cannot make a request: %v", err)
	}
	request.ContentLength = size
	transport := s.Edges[0].Transport()
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	close(watch)
	<-watched
	if err != nil {
		b.Fatalf("the upload: %v", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		b.Fatalf("the upload was answered %s", response.Status)
	}
	b.show("edge's memory before a 1 GB upload", before, "MB", "")
	b.show("edge's memory at its peak during it", peak, "MB", "failover on: the upload takes the bypass router")
	for _, id := range s.Containers("uploads", string(fleet.RoleSandbox)) {
		var seen struct{ State struct{ Pid int } }
		b.call("GET", "/containers/"+id+"/json", nil, &seen)
		b.show("memory of a sandbox", b.memoryOf(seen.State.Pid), "MB", "resident")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// memoryOf returns a process's resident memory in MB.
func (b *bench) memoryOf(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Logf("cannot read the memory of process %d: %v", pid, err)
		return 0
	}
	var total, resident int
	if _, err := fmt.Sscan(string(data), &total, &resident); err != nil {
		b.Logf("cannot read the memory of process %d: %v", pid, err)
		return 0
	}
	return float64(resident*os.Getpagesize()) / (1 << 20)
}
