package feed

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestAChangeIsConfirmedRightAfterTheEdgeAppliedIt(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Settings: both, Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main", takes: 5 * time.Millisecond, lag: 2 * time.Millisecond}).start()
		s.put("blog", "blog", 1)
		s.confirmed(1)
		for i := range 20 {
			version := s.put("blog", "blog", 1, fmt.Sprintf("10.0.0.%d:80", i+1))
			confirmation, took := s.confirmed(version)
			if want := (fleet.Confirmation{Edges: 1}); !cmp.Equal(confirmation, want) {
				t.Errorf("got %+v, want %+v", confirmation, want)
			}
			if want := fmt.Sprintf("blog r1 10.0.0.%d:80", i+1); edge.routes("blog") != want {
				t.Fatalf("confirmed while %q is in force, want %q", edge.routes("blog"), want)
			}
			// At most 10 ms until it polls, 1 ms for more changes, 7 ms to apply.
			if took > 22*time.Millisecond {
				t.Errorf("confirmed after %s", took)
			}
			synctest.Wait()
		}
	})
}

func TestConfirmedWaitsForEveryEdgeAndEntryPoint(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Settings: both, Edges: []EdgeAddress{address("fast"), address("slow")}})
		(&traefik{stage: s, name: "fast"}).start()
		slow := (&traefik{stage: s, name: "slow", takes: 100 * time.Millisecond, lag: time.Second}).start()
		confirmation, took := s.confirmed(s.put("blog", "blog", 1))
		if confirmation.Edges != 2 || slow.routes("blog") != "blog r1" {
			t.Errorf("got %+v while the slow edge has %q", confirmation, slow.routes("blog"))
		}
		if took < 1100*time.Millisecond || took > 1300*time.Millisecond {
			t.Errorf("confirmed after %s", took)
		}
	})
}

func TestSeveralChangesAtOnceBecomeOneDocument(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main"}).start()
		s.confirmed(s.put("blog", "blog", 1))
		time.Sleep(100 * time.Millisecond)
		var last uint64
		for i := range 5 {
			last = s.put(fmt.Sprintf("app-%d", i), "app", 1)
			time.Sleep(300 * time.Microsecond)
		}
		s.confirmed(last)
		if got := len(edge.fetched()); got != 2 {
			t.Errorf("%d documents were fetched, want 2", got)
		}
	})
}

func TestAVersionThatChangesNoRouteIsConfirmedWithoutADocument(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main"}).start()
		s.confirmed(s.put("blog", "blog", 1))
		_, took := s.confirmed(s.put("blog", "blog", 1))
		if got := len(edge.fetched()); got != 1 || took > 5*time.Millisecond {
			t.Errorf("%d documents, confirmed after %s", got, took)
		}
		if got := s.feed.Edges()[0].Confirmed; got != 2 {
			t.Errorf("confirmed version %d, want 2", got)
		}
	})
}

func TestAChangeThatIsTakenBackIsNotConfirmedByWhatWasInForceBefore(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main", takes: 300 * time.Millisecond}).start()
		s.confirmed(s.put("blog", "blog", 1))
		s.put("blog", "blog", 1, "10.0.0.1:80")
		time.Sleep(100 * time.Millisecond) // the edge has it and does not apply it yet
		back := s.put("blog", "blog", 1)
		s.confirmed(back)
		time.Sleep(time.Second)
		if got := edge.routes("blog"); got != "blog r1" {
			t.Errorf("%q is in force at last", got)
		}
		documents := edge.fetched()
		if len(documents) != 3 || documents[0].Hash == documents[2].Hash {
			t.Errorf("the documents cannot be told apart: %+v", documents)
		}
		if strings.TrimSuffix(documents[2].Hash, documents[2].Hash[len(documents[0].Hash):]) != documents[0].Hash {
			t.Errorf("a hash of another shape: %s and %s", documents[0].Hash, documents[2].Hash)
		}
	})
}

func TestADocumentInTransitIsNeverTakenForApplied(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Settings: both, Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main", takes: 37 * time.Millisecond, lag: 11 * time.Millisecond}).start()
		s.confirmed(s.put("blog", "blog", 1))
		for i := range 200 {
			awake := []string{"10.0.0.1:80"}
			if i%2 == 0 {
				awake = nil
			}
			s.put("blog", "blog", 1, awake...)
			time.Sleep(time.Duration(i*7919%60) * time.Millisecond)
			if i%3 != 0 {
				continue
			}
			s.confirmed(s.snapshot.Version)
			want := "blog r1"
			if awake != nil {
				want += " 10.0.0.1:80"
			}
			if got := edge.routes("blog"); got != want {
				t.Fatalf("round %d: confirmed %q while %q is in force", i, want, got)
			}
		}
	})
}

func TestWithoutEdgesEverythingIsConfirmed(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{})
		confirmation, _ := s.confirmed(s.put("blog", "blog", 1))
		if want := (fleet.Confirmation{}); !cmp.Equal(confirmation, want) {
			t.Errorf("got %+v", confirmation)
		}
	})
}

func TestACallerWhoLeavesIsLetGo(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		version := s.put("blog", "blog", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		begun := time.Now()
		if _, err := s.feed.Confirmed(ctx, version); err == nil {
			t.Error("confirmed without an edge that is expected")
		}
		if took := time.Since(begun); took != 50*time.Millisecond {
			t.Errorf("let go after %s", took)
		}
	})
}

func TestAnEdgeOfUnknownAddressIsConfirmedShortlyAfterItsPoll(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{})
		(&traefik{stage: s, name: "main", takes: 200 * time.Millisecond}).start()
		time.Sleep(time.Second)
		_, took := s.confirmed(s.put("blog", "blog", 1))
		if took < minGrace || took > minGrace+50*time.Millisecond {
			t.Errorf("confirmed after %s", took)
		}
		if note := s.feed.Edges()[0].Note; !strings.Contains(note, "applied means received") {
			t.Errorf("the note is %q", note)
		}
	})
}

func TestAnEdgeThatCannotBeProbedBlocksNobodyForLong(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main"}).start()
		s.confirmed(s.put("blog", "blog", 1))
		s.hangUp("main:80")
		s.feed.edges["main"].points[0].client.CloseIdleConnections()
		_, took := s.confirmed(s.put("blog", "blog", 2))
		if took < refusalTime || took > refusalTime+500*time.Millisecond {
			t.Errorf("the first confirmation took %s", took)
		}
		_, took = s.confirmed(s.put("blog", "blog", 3))
		if took > minGrace+50*time.Millisecond {
			t.Errorf("the second confirmation took %s", took)
		}
		if note := s.feed.Edges()[0].Note; !strings.Contains(note, "does not answer") {
			t.Errorf("the note is %q", note)
		}
		edge.listen()
		time.Sleep(10 * time.Second)
		if note := s.feed.Edges()[0].Note; note != "" {
			t.Errorf("it answers again, and the note is still %q", note)
		}
		if got := strings.Count(s.said(), "proves nothing"); got != 1 {
			t.Errorf("%d events about it", got)
		}
	})
}

func TestNobodyWaitsForAConfirmationForEver(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{})
		s.put("blog", "blog", 1)
		(&traefik{stage: s, name: "main", pause: 19 * time.Second}).start()
		time.Sleep(time.Second)
		version := s.put("blog", "blog", 2)
		begun := time.Now()
		_, err := s.feed.Confirmed(t.Context(), version)
		if fleet.KindOf(err) != fleet.Unavailable || !strings.Contains(err.Error(), "main") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took != confirmTime {
			t.Errorf("after %s", took)
		}
	})
}
