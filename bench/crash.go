package main

import (
	"fmt"
	"time"

	"edgespawner/test/stand"
)

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
