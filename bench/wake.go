package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// wakes measures the first byte of a request that wakes a service, from stop
// and from pause, each round beside the floor: the same start of a pair made by
// hand and asked directly, and a plain container on the same network.
func wakes(b *bench) {
	s := stand.Start(b)
	spec := s.MockApp("sleeper", "sleeper.test")
	s.Deploy(spec)
	joined := b.makePod(s.Name("floor"), s.Network, true)
	plain := b.makePod(s.Name("plain"), s.Network, false)

	var product, floor, alone, over []float64
	for round := range b.rounds {
		// All three rest for as long before they are started, each round in another order.
		b.call("POST", "/containers/"+joined.app+"/stop?t=5", nil, nil)
		b.call("POST", "/containers/"+plain.app+"/stop?t=5", nil, nil)
		s.Sleep("sleeper")
		b.inTurn(round,
			func() { product = append(product, milliseconds(b.firstByte(s, "sleeper.test"))) },
			func() { floor = append(floor, milliseconds(b.untilReady(joined, b.start(joined)))) },
			func() { alone = append(alone, milliseconds(b.untilReady(plain, b.start(plain)))) })
		over = append(over, product[len(product)-1]-floor[len(floor)-1])
	}
	b.show("wake from stop, median", median(product), "ms", spread(product))
	b.show("floor: start into a sandbox, median", median(floor), "ms", spread(floor))
	b.show("floor: plain docker start, median", median(alone), "ms", spread(alone))
	b.atMost("wake from stop over its floor, median", median(over), 10, "ms", spread(over))
	b.atMost("wake from stop over its floor, p95", percentile(product, 0.95)-percentile(floor, 0.95), 40, "ms", fmt.Sprintf("p95 %.4g against %.4g", percentile(product, 0.95), percentile(floor, 0.95)))
	b.atMost("wake from stop against a plain start", median(ratios(product, alone)), 0.6, "×", spread(ratios(product, alone)))

	spec.Sleep.Mode = fleet.SleepPause
	s.Deploy(spec)
	var dozing, unpause, extra []float64
	for round := range b.rounds {
		b.call("POST", "/containers/"+joined.app+"/pause", nil, nil)
		s.Sleep("sleeper")
		b.inTurn(round,
			func() { dozing = append(dozing, milliseconds(b.firstByte(s, "sleeper.test"))) },
			func() {
				unpause = append(unpause, milliseconds(b.untilReady(joined, func() { b.call("POST", "/containers/"+joined.app+"/unpause", nil, nil) })))
			})
		extra = append(extra, dozing[len(dozing)-1]-unpause[len(unpause)-1])
	}
	b.show("wake from pause, median", median(dozing), "ms", spread(dozing))
	b.show("floor: unpause and 200, median", median(unpause), "ms", spread(unpause))
	b.atMost("wake from pause over its floor, median", median(extra), 5, "ms", spread(extra))
}

// inTurn runs measurements one after another, each round beginning with another one.
func (b *bench) inTurn(round int, measurements ...func()) {
	for i := range measurements {
		measurements[(round+i)%len(measurements)]()
	}
}

func (b *bench) start(p pod) func() {
	return func() { b.call("POST", "/containers/"+p.app+"/start", nil, nil) }
}

// firstByte asks through the edge, over a new connection, until the headers are there.
func (b *bench) firstByte(s *stand.Stand, host string) time.Duration {
	transport := s.Edges[0].Transport()
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest("GET", "http://"+host+"/status", nil)
	if err != nil {
		b.Fatalf("cannot make a request: %v", err)
	}
	began := time.Now()
	response, err := transport.RoundTrip(request)
	took := time.Since(began)
	if err != nil {
		b.Fatalf("%s: %v", host, err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		b.Fatalf("%s answered %s", host, response.Status)
	}
	return took
}

// wakeWithHealthcheck wakes an image whose HEALTHCHECK Docker itself would run
// for the first time after 30 s.
func wakeWithHealthcheck(b *bench) {
	s := stand.Start(b)
	spec := s.MockApp("checked", "checked.test")
	spec.Image = stand.MockAppVariant(b, "bench-healthcheck", `HEALTHCHECK --interval=30s CMD ["/mock-app", "health"]`)
	b.Cleanup(func() {
		if err := stand.RemoveVariants(); err != nil {
			b.Logf("%v", err)
		}
	})
	spec.HealthCheck = nil
	s.Deploy(spec)
	joined := b.makePod(s.Name("floor"), s.Network, true)
	var product, over, overExec []float64
	for round := range max(5, b.rounds/2) {
		b.call("POST", "/containers/"+joined.app+"/stop?t=5", nil, nil)
		s.Sleep("checked")
		var took, floor, checked float64
		b.inTurn(round,
			func() { took = milliseconds(b.firstByte(s, "checked.test")) },
			func() {
				began := time.Now()
				floor = milliseconds(b.untilReady(joined, b.start(joined)))
				b.exec(joined, "/mock-app", "health")
				checked = milliseconds(time.Since(began))
			})
		product, over, overExec = append(product, took), append(over, took-floor), append(overExec, took-checked)
	}
	b.show("wake with a HEALTHCHECK of 30 s, median", median(product), "ms", spread(product))
	b.show("over a start into a sandbox", median(over), "ms", spread(over))
	b.atMost("over a start into a sandbox and one run of the HEALTHCHECK", median(overExec), 10, "ms", spread(overExec))
}

// crowd sends 1,000 requests at once to a sleeping service.
func crowd(b *bench) {
	const clients = 1000
	s := stand.Start(b)
	s.Deploy(s.MockApp("crowded", "crowded.test"))
	s.Sleep("crowded")
	began := time.Now()
	good := 0
	var mu sync.Mutex
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			if s.Do(stand.Request{Host: "crowded.test", Path: "/status"}).Status == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				good++
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	starts := b.startsOf("crowded", began)
	b.hold("starts for 1,000 requests at a sleeper", float64(starts), "", "1", starts == 1, "")
	b.hold("of 1,000 requests answered 200", float64(good), "", "1000", good == clients, fmt.Sprintf("the last after %s", took.Round(time.Millisecond)))
}
