package webhooks

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestEachAttemptIsToldWithWhatCameOfIt(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		var mu sync.Mutex
		told := map[string]int{}
		s.sender.config.Observe = func(webhook string, what Outcome) { // nothing is sent yet
			mu.Lock()
			defer mu.Unlock()
			told[webhook+" "+string(what)]++
		}
		s.sender.config.Removed = func(webhook string) { told[webhook+" removed"] = len(told) }
		v := s.add(fleet.Webhook{Name: "chat"})
		v.answers(func(w http.ResponseWriter, attempt int) {
			if attempt <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		s.happens(fleet.EventDeploy, "first")
		time.Sleep(time.Minute)
		s.stands("chat", nil)
		s.happens(fleet.EventDeploy, "second")
		time.Sleep(2 * giveUpAfter)
		mu.Lock()
		defer mu.Unlock()
		if told["chat failed"] < 10 {
			t.Errorf("%d attempts have failed over two days", told["chat failed"])
		}
		delete(told, "chat failed")
		// The event that says that it fails grows too old as well.
		if diff := cmp.Diff(map[string]int{"chat delivered": 1, "chat given_up": 2}, told); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := s.sender.Remove(t.Context(), "chat"); err != nil || told["chat removed"] != 2 {
			t.Errorf("removed: %v, told %v", err, told)
		}
		if err := s.sender.Remove(t.Context(), "none"); fleet.KindOf(err) != fleet.NotFound || len(told) != 3 {
			t.Errorf("removed: %v, told %v", err, told)
		}
	})
}
