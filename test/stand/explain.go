package stand

import (
	"context"
	"time"

	"edgespawner/fleet"
)

// shownLines is how much of each log a failed test shows.
const shownLines = 60

// explain shows what may tell why a test has failed.
func (s *Stand) explain() {
	if s.Lab != nil {
		s.explainLab()
	} else {
		s.t.Logf("containers of the fleet:\n%s", s.tryDocker("ps", "-a", "--filter", "label=spawner.fleet="+s.FleetID))
	}
	s.explainEvents()
	if s.Spawner != nil {
		s.t.Logf("the spawner's log, its end:\n%s", s.Spawner.LogTail(shownLines))
	}
	for _, edge := range s.Edges {
		s.t.Logf("the log of %s, its end:\n%s", edge.Name, edge.LogTail(shownLines/2))
	}
	if s.ACME != nil {
		s.t.Logf("the ACME server's log, its end:\n%s", s.ACME.pebble.LogTail(shownLines/2))
	}
}

func (s *Stand) explainEvents() {
	if s.Client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	events, err := s.Client.Events(ctx, fleet.EventFilter{Limit: shownLines})
	if err != nil {
		s.t.Logf("no events: %v", err)
		return
	}
	for _, event := range events {
		s.t.Logf("event %s %s %s%s: %s", event.Timestamp.Format("15:04:05.000"), event.Type, event.Service, event.Container, event.Message)
	}
}

func (s *Stand) tryDocker(args ...string) string {
	output, err := docker(args...)
	if err != nil {
		return err.Error()
	}
	return output
}
