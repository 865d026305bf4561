package feed

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oneEdgeOfTwoKilled has the edges a and b, both with blog's first revision, and b just killed.
func oneEdgeOfTwoKilled(t *testing.T) (s *stage, b *traefik) {
	t.Helper()
	s = open(t, Config{Edges: []EdgeAddress{address("a"), address("b")}})
	(&traefik{stage: s, name: "a"}).start()
	b = (&traefik{stage: s, name: "b"}).start()
	s.confirmed(s.put("blog", "blog", 1))
	b.kill()
	return s, b
}

func TestAnEdgeThatStopsPollingIsLostAfterTwentySeconds(t *testing.T) {
	play(t, func(t *testing.T) {
		s, b := oneEdgeOfTwoKilled(t)
		confirmation, took := s.confirmed(s.put("blog", "blog", 2))
		if confirmation.Edges != 1 || !slices.Equal(confirmation.Lost, []string{"b"}) {
			t.Errorf("got %+v", confirmation)
		}
		if took < 19*time.Second || took > 21*time.Second {
			t.Errorf("after %s", took)
		}
		if said := s.said(); !strings.Contains(said, "Edge b is lost") {
			t.Errorf("events: %s", said)
		}
		if _, took = s.confirmed(s.put("blog", "blog", 3)); took > time.Second {
			t.Errorf("a lost edge is waited for: %s", took)
		}
		b.connect()
		confirmation, _ = s.confirmed(s.put("blog", "blog", 4))
		time.Sleep(time.Second)
		if got := b.routes("blog"); got != "blog r4" || s.feed.Edges()[1].State != stateConnected {
			t.Errorf("it came back with %q, %+v", got, confirmation)
		}
	})
}

func TestAnEdgeThatIsLostForLongIsNamedByNoConfirmation(t *testing.T) {
	play(t, func(t *testing.T) {
		s, b := oneEdgeOfTwoKilled(t)
		time.Sleep(namedTime - time.Second)
		if confirmation, _ := s.confirmed(s.put("blog", "blog", 2)); !slices.Equal(confirmation.Lost, []string{"b"}) {
			t.Errorf("lost lately: got %+v", confirmation)
		}
		time.Sleep(2 * time.Second)
		if confirmation, _ := s.confirmed(s.put("blog", "blog", 3)); confirmation.Edges != 1 || len(confirmation.Lost) > 0 {
			t.Errorf("lost for long: got %+v", confirmation)
		}
		if shown := s.feed.Edges()[1]; shown.State != stateLost {
			t.Errorf("the list of edges says %+v", shown)
		}
		b.connect()
		s.confirmed(s.put("blog", "blog", 4))
		b.kill()
		if confirmation, _ := s.confirmed(s.put("blog", "blog", 5)); !slices.Equal(confirmation.Lost, []string{"b"}) {
			t.Errorf("lost again: got %+v", confirmation)
		}
	})
}

func TestAnEdgeThatIsStartedAnewIsConfirmedAnew(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main"}).start()
		version := s.put("blog", "blog", 1)
		s.confirmed(version)
		edge.kill()
		edge.mu.Lock()
		edge.web, edge.tls, edge.takes = "", "", 200*time.Millisecond
		edge.mu.Unlock()
		edge.connect()
		time.Sleep(50 * time.Millisecond)
		if _, took := s.confirmed(version); took < 100*time.Millisecond {
			t.Errorf("confirmed after %s by an edge that has no routes", took)
		}
		if got := edge.routes("blog"); got != "blog r1" {
			t.Errorf("%q is in force", got)
		}
	})
}

func TestTwoEdgesOfOneNameAreSaidToBeTwo(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		(&traefik{stage: s, name: "main"}).start()
		s.confirmed(s.put("blog", "blog", 1))
		twin := &traefik{stage: s, name: "main"}
		twin.connect()
		time.Sleep(2 * time.Second)
		if got := s.feed.Edges()[0].Connections; got != 2 {
			t.Errorf("%d connections, want 2", got)
		}
		if said := s.said(); strings.Count(said, "2 connections poll as edge main") != 1 {
			t.Errorf("events: %s", said)
		}
		twin.kill()
		time.Sleep(5 * time.Second)
		if got := s.feed.Edges()[0].Connections; got != 1 {
			t.Errorf("%d connections after one ended", got)
		}
	})
}

func TestSettledWaitsUntilExpectedEdgesHavePolledOrAreLost(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("a")}, Expected: []string{"b"}})
		s.put("blog", "blog", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.feed.Settled(ctx); err == nil {
			t.Error("settled before any edge has polled")
		}
		(&traefik{stage: s, name: "a"}).start()
		begun := time.Now()
		if err := s.feed.Settled(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 18*time.Second || took > 20*time.Second {
			t.Errorf("settled after %s", took)
		}
	})
}

func TestSettledReturnsAtOnceWhenAllAreBack(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Expected: []string{"a"}})
		(&traefik{stage: s, name: "a"}).start()
		begun := time.Now()
		if err := s.feed.Settled(t.Context()); err != nil || time.Since(begun) > 100*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

func TestNewEdgesAreReportedOnceAndOldOnesForgottenAfterADay(t *testing.T) {
	play(t, func(t *testing.T) {
		var seen, gone []string
		s := open(t, Config{
			Expected: []string{"old"},
			Seen:     func(name string) { seen = append(seen, name) },
			Gone:     func(name string) { gone = append(gone, name) },
		})
		s.put("blog", "blog", 1)
		fresh := (&traefik{stage: s, name: "new", pause: 10 * time.Second}).start()
		old := (&traefik{stage: s, name: "old"}).start()
		time.Sleep(time.Minute)
		old.kill()
		time.Sleep(25 * time.Hour)
		fresh.kill()
		s.feed.mu.Lock()
		defer s.feed.unlock()
		if !cmp.Equal(seen, []string{"new"}) || !cmp.Equal(gone, []string{"old"}) {
			t.Errorf("seen %v, gone %v", seen, gone)
		}
	})
}

func TestEdgesFoundByLabelAreProbed(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Known: func(context.Context) ([]EdgeAddress, error) { return []EdgeAddress{address("main")}, nil }})
		(&traefik{stage: s, name: "main", takes: time.Second}).start()
		time.Sleep(10 * time.Millisecond)
		if _, took := s.confirmed(s.put("blog", "blog", 1)); took < time.Second {
			t.Errorf("confirmed after %s", took)
		}
		if note := s.feed.Edges()[0].Note; note != "" {
			t.Errorf("the note is %q", note)
		}
	})
}
