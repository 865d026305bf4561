package main

import (
	"errors"
	"fmt"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// crash kills an app -9 and measures until the spawner begins its restart, until
// the engine has started it, and until a request is answered again.
func crash(b *bench) {
	s := stand.Start(b)
	var begun, started, serving []float64
	for n := range min(8, b.rounds) { // each crashes once: a second time in a row is answered with back-off
		name := fmt.Sprintf("crashing-x%d", n)
		s.Deploy(s.MockApp(name, name+".test"))
		app := s.App(name)
		killed := time.Now()
		b.call("POST", "/containers/"+app+"/kill?signal=KILL", nil, nil)
		serving = append(serving, milliseconds(b.firstByteSince(s, name+".test", killed)))
		started = append(started, milliseconds(b.restarted(app, killed).Sub(killed)))
		begun = append(begun, milliseconds(b.restarting(s, name).Sub(killed)))
	}
	b.atMost("crash to its restart begun, as the spawner's event dates it, max", percentile(begun, 1), 250, "ms", spread(begun))
	b.atMost("crash to the app's new start, as the engine dates it, max", percentile(started, 1), 250, "ms", spread(started))
	b.show("crash to the first answer, median", median(serving), "ms", spread(serving))
}

// restarting waits for the event of the app's restart and returns its time.
func (b *bench) restarting(s *stand.Stand, service string) (at time.Time) {
	stand.Eventually(b, 10*time.Second, "the restart is an event", func() error {
		events := s.Events(service, fleet.EventRestart)
		if len(events) == 0 {
			return errors.New("there is none")
		}
		at = events[0].Timestamp
		return nil
	})
	return at
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
