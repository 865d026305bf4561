package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// Of the app that hangs: how it is checked, and the traffic that notices.
const (
	hangInterval = time.Second
	hangTimeout  = 200 * time.Millisecond
	hangRetries  = 3
	hangRate     = 100                    // requests a second
	hangPatience = 300 * time.Millisecond // of a client
)

// hang lets one of two replicas hang, and measures until the edge sends no
// request there any more: the last request that got no answer in time.
func hang(b *bench) {
	s := stand.Start(b)
	var off, serving []float64
	var lost []float64
	for n := range min(6, b.rounds) { // each hangs once: a second restart in a row is answered with back-off
		name := fmt.Sprintf("hanging-x%d", n)
		spec := s.MockApp(name, name+".test")
		spec.Replicas = 2
		spec.HealthCheck.Interval = fleet.Duration(hangInterval)
		spec.HealthCheck.Timeout = fleet.Duration(hangTimeout)
		spec.HealthCheck.Retries = hangRetries
		s.Deploy(spec)
		traffic := b.startWatch(s, name+".test")
		b.get("http://" + s.Service(name).Detail[0].Address + ":9000/hang")
		hung := time.Now()
		stand.Eventually(b, 30*time.Second, "both replicas serve again", func() error {
			if service := s.Service(name); service.Ready() != 2 || service.Detail[0].Restarts == 0 {
				return fmt.Errorf("%d of 2 serve, %d restarts", service.Ready(), service.Detail[0].Restarts)
			}
			return nil
		})
		serving = append(serving, time.Since(hung).Seconds())
		last, count := traffic.stop()
		off = append(off, last.Sub(hung).Seconds())
		lost = append(lost, float64(count))
		s.Remove(name)
	}
	floor := (hangInterval * hangRetries).Seconds()
	b.show("floor: interval × retries", floor, "s", fmt.Sprintf("%s × %d, with a time-out of %s", hangInterval, hangRetries, hangTimeout))
	b.atMost("hung app to the last request that the edge sends it, median", median(off), floor, "s", spread(off))
	b.atMost("hung app to the last request that the edge sends it, max", percentile(off, 1), floor+2*hangTimeout.Seconds(), "s", "one time-out longer at the worst, and one for the edge")
	b.show("hung app to its replacement serving, median", median(serving), "s", spread(serving))
	b.show(fmt.Sprintf("requests without an answer meanwhile, of %d a second", hangRate), median(lost), "", spread(lost))
}

// get asks an app directly.
func (b *bench) get(url string) {
	response, err := http.Get(url)
	if err != nil {
		b.Fatalf("%v", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		b.Fatalf("%s answered %s", url, response.Status)
	}
}

// watchedTraffic is an open loop of requests of which only the failed ones matter.
type watchedTraffic struct {
	end    chan struct{}
	failed chan time.Time // when each failed request began
	ended  chan struct{}  // closed after the last
}

// startWatch begins hangRate requests a second, each on a connection of its own.
func (b *bench) startWatch(s *stand.Stand, host string) *watchedTraffic {
	w := &watchedTraffic{end: make(chan struct{}), failed: make(chan time.Time, 100*hangRate), ended: make(chan struct{})}
	transport := s.Edges[0].Transport()
	transport.DisableKeepAlives = true
	client := &http.Client{Transport: transport, Timeout: hangPatience}
	go func() {
		defer close(w.ended)
		tick := time.NewTicker(time.Second / hangRate)
		defer tick.Stop()
		var inFlight sync.WaitGroup
		defer inFlight.Wait()
		for {
			select {
			case <-w.end:
				return
			case began := <-tick.C:
				inFlight.Go(func() {
					response, err := client.Get("http://" + host + "/status")
					if err == nil {
						response.Body.Close()
					}
					if err != nil || response.StatusCode != http.StatusOK {
						w.failed <- began
					}
				})
			}
		}
	}()
	return w
}

// stop ends the traffic and returns when the last failed request began, and how many there were.
func (w *watchedTraffic) stop() (last time.Time, count int) {
	close(w.end)
	<-w.ended
	close(w.failed)
	for began := range w.failed {
		count++
		if began.After(last) {
			last = began
		}
	}
	return last, count
}
