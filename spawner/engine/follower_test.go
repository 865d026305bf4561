package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/sqlite"
)

// eventStore is a real store whose Append can be made to fail.
type eventStore struct {
	sqlite.Events
	mu     sync.Mutex
	broken error
}

func (s *eventStore) breakWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *eventStore) Append(ctx context.Context, events []fleet.Event) ([]fleet.Event, error) {
	s.mu.Lock()
	err := s.broken
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.Events.Append(ctx, events)
}

// recording runs a recorder over a real store, in a bubble of its own time.
func recording(t *testing.T, test func(t *testing.T, r *recorder, store *eventStore)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "spawner.db"), log)
		if err != nil {
			t.Fatal(err)
		}
		store := &eventStore{Events: db.Events()}
		r := newRecorder(store, nobody{}, log)
		ctx, end := context.WithCancel(context.Background())
		go r.run(ctx)
		test(t, r, store)
		end()
		<-r.ended
		synctest.Wait() // followers have left the store
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// note records events named by numbers.
func note(r *recorder, from, to int) {
	for i := from; i <= to; i++ {
		r.record(fleet.Event{Type: fleet.EventStep, Service: fmt.Sprint("s", i%2), Message: fmt.Sprint(i)})
	}
}

// take reads the next events' messages.
func take(t *testing.T, events <-chan fleet.Event, n int) (messages []string) {
	t.Helper()
	for range n {
		select {
		case event := <-events:
			messages = append(messages, event.Message)
		case <-time.After(time.Minute):
			t.Fatalf("nothing comes after %v", messages)
		}
	}
	return messages
}

func wantInOrder(t *testing.T, events <-chan fleet.Event, from, to int) {
	t.Helper()
	for i, message := range take(t, events, to-from+1) {
		if message != fmt.Sprint(from+i) {
			t.Fatalf("got event %s, want %d", message, from+i)
		}
	}
}

func TestAFollowerIsToldWhatComesAfterItBegan(t *testing.T) {
	recording(t, func(t *testing.T, r *recorder, _ *eventStore) {
		note(r, 1, 3)
		time.Sleep(time.Second)
		from, events, err := r.follow(t.Context(), fleet.EventFilter{Service: "s0"})
		if err != nil || from != 3 {
			t.Fatalf("begins after %d, %v", from, err)
		}
		note(r, 4, 7)
		if got := take(t, events, 2); got[0] != "4" || got[1] != "6" {
			t.Errorf("got %v", got)
		}
	})
}

func TestASlowFollowerMissesNothingAndDelaysNobody(t *testing.T) {
	recording(t, func(t *testing.T, r *recorder, _ *eventStore) {
		_, slow, err := r.follow(t.Context(), fleet.EventFilter{})
		if err != nil {
			t.Fatal(err)
		}
		_, quick, err := r.follow(t.Context(), fleet.EventFilter{})
		if err != nil {
			t.Fatal(err)
		}
		const many = 3*followPage + 7
		note(r, 1, many)
		wantInOrder(t, quick, 1, many)
		if ahead := len(slow); ahead > followAhead {
			t.Errorf("%d events are held for a follower that takes none", ahead)
		}
		wantInOrder(t, slow, 1, many)
		note(r, many+1, many+1)
		wantInOrder(t, slow, many+1, many+1)
	})
}

func TestAFollowerGoesOnWhereItWas(t *testing.T) {
	recording(t, func(t *testing.T, r *recorder, _ *eventStore) {
		note(r, 1, 1200)
		time.Sleep(time.Second)
		for _, test := range []struct {
			filter      fleet.EventFilter
			from, first int
		}{
			{fleet.EventFilter{After: 3}, 3, 4},
			{fleet.EventFilter{After: -1}, 0, 1},
			{fleet.EventFilter{Limit: 2}, 1198, 1199},
			{fleet.EventFilter{Since: time.Now().Add(-time.Hour)}, 0, 1},
			{fleet.EventFilter{}, 1200, 1201},
		} {
			ctx, leave := context.WithCancel(t.Context())
			from, events, err := r.follow(ctx, test.filter)
			if err != nil || from != int64(test.from) {
				t.Errorf("%+v: begins after %d, %v", test.filter, from, err)
			}
			wantInOrder(t, events, test.first, 1200)
			leave()
			for range events { // closed, without anything more
				t.Errorf("%+v: told more than there is", test.filter)
			}
		}
	})
}

func TestAFollowerIsToldOfWhatIsNoLongerKept(t *testing.T) {
	recording(t, func(t *testing.T, r *recorder, store *eventStore) {
		note(r, 1, 10)
		time.Sleep(time.Second)
		if _, err := store.Prune(t.Context(), time.Time{}, 4); err != nil {
			t.Fatal(err)
		}
		for after, want := range map[int64]string{
			2:  "Events 3 to 6 are no longer kept",
			90: "Event 90 is not known here, the newest is 10: an older database may have been restored",
		} {
			_, events, err := r.follow(t.Context(), fleet.EventFilter{After: after})
			if err != nil {
				t.Fatal(err)
			}
			gap := <-events
			if gap.Type != fleet.EventGap || gap.Message != want {
				t.Errorf("after %d: got %+v", after, gap)
			}
			if after == 2 {
				wantInOrder(t, events, 7, 10)
			}
		}
		_, events, err := r.follow(t.Context(), fleet.EventFilter{After: 6})
		if err != nil {
			t.Fatal(err)
		}
		wantInOrder(t, events, 7, 10) // nothing between is missing
	})
}

func TestAFollowerIsNotToldOfGapsAmongWhatItHasPassedOver(t *testing.T) {
	recording(t, func(t *testing.T, r *recorder, store *eventStore) {
		_, events, err := r.follow(t.Context(), fleet.EventFilter{Service: "rare"})
		if err != nil {
			t.Fatal(err)
		}
		note(r, 1, 20)
		time.Sleep(time.Minute)
		if _, err := store.Prune(t.Context(), time.Time{}, 3); err != nil {
			t.Fatal(err)
		}
		r.record(fleet.Event{Service: "rare", Message: "now"})
		if got := take(t, events, 1); got[0] != "now" {
			t.Errorf("got %v", got)
		}
	})
}

func TestEventsOutlastAStoreThatFailsForAWhile(t *testing.T) {
	recording(t, func(t *testing.T, r *recorder, store *eventStore) {
		store.breakWith(errors.New("disk full"))
		note(r, 1, 5)
		time.Sleep(time.Minute)
		note(r, 6, 7)
		store.breakWith(nil)
		_, events, err := r.follow(t.Context(), fleet.EventFilter{After: -1})
		if err != nil {
			t.Fatal(err)
		}
		wantInOrder(t, events, 1, 7)
		store.breakWith(errors.New("disk full"))
		note(r, 1, mostPending+5)
		time.Sleep(time.Minute)
		r.mu.Lock()
		waiting, lost := len(r.pending), r.lost
		r.mu.Unlock()
		if waiting != mostPending || lost != 5 {
			t.Errorf("%d events wait and %d are lost", waiting, lost)
		}
		store.breakWith(nil)
		if got := take(t, events, 2); got[0] != "5 events are lost before this one: the database could not be written for too long" || got[1] != "6" {
			t.Errorf("got %q", got)
		}
	})
}

func TestFollowersAreLetGoWithTheRecorder(t *testing.T) {
	closed := make(chan bool, 1)
	recording(t, func(t *testing.T, r *recorder, _ *eventStore) {
		_, events, err := r.follow(context.Background(), fleet.EventFilter{})
		if err != nil {
			t.Error(err)
		}
		go func() {
			_, open := <-events
			closed <- !open
		}()
	})
	if !<-closed {
		t.Error("a follower was told something at the end")
	}
}
