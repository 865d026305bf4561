package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
)

// deafened lets so many notices of an app come to a follower that has taken one
// and is held up, and then one more.
func deafened(w *world, count int, then fleet.NoticeAction) (first heard, told <-chan heard) {
	w.t.Helper()
	notices := make(chan fleet.Notice)
	told = w.engine().hear(w.ctx, notices)
	send := func(action fleet.NoticeAction) {
		select {
		case notices <- fleet.Notice{Action: action, ID: "c1"}:
		case <-time.After(time.Minute):
			w.t.Fatalf("a notice of %s is not taken", action)
		}
	}
	send(fleet.NoticeConnected)
	first = <-told
	for range count {
		send(fleet.NoticeStarted)
	}
	send(then)
	close(notices)
	synctest.Wait()
	return first, told
}

// rest takes what a follower is told until there is no more.
func rest(told <-chan heard) (actions []fleet.NoticeAction) {
	for h := range told {
		actions = append(actions, h.Action)
	}
	return actions
}

func TestAnEngineIsSeenToBeLostHoweverManyNoticesWait(t *testing.T) {
	for _, count := range []int{0, 1000, mostUnheard - 1, mostUnheard, 3 * mostUnheard} {
		inWorld(t, func(w *world) {
			first, told := deafened(w, count, fleet.NoticeLost)
			if first.standing.Err() == nil {
				t.Errorf("behind %d notices what is asked of the engine goes on", count)
			}
			actions := rest(told)
			if len(actions) == 0 || len(actions) > mostUnheard || actions[len(actions)-1] != fleet.NoticeLost {
				t.Fatalf("behind %d notices %d are told", count, len(actions))
			}
			if count < mostUnheard && len(actions) != count+1 {
				t.Errorf("of %d notices %d are told", count+1, len(actions))
			}
		})
	}
}

func TestAFollowerThatMissesNoticesListsItsNodeAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		first, told := deafened(w, mostUnheard, fleet.NoticeDied)
		if first.standing.Err() != nil {
			t.Error("what is asked of the engine has ended")
		}
		if actions := rest(told); len(actions) != 1 || actions[0] != fleet.NoticeConnected {
			t.Errorf("%d notices are told", len(actions))
		}
	})
}
