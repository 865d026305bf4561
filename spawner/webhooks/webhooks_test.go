package webhooks

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

// The example that Standard Webhooks' own libraries are tested with.
func TestASignatureIsThatOfTheStandard(t *testing.T) {
	key, err := keyOf("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/", nil)
	sign(r, key, "msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0))
	if got, want := r.Header.Get("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAReceiverIsSentWhatItsWebhookSelectsInOrder(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.happens(fleet.EventFailed, "before it was made")
		v := s.add(fleet.Webhook{Name: "ops", Types: []fleet.EventType{fleet.EventFailed, fleet.EventHealth}, Service: "api"})
		s.happens(fleet.EventFailed, "one")
		s.happens(fleet.EventStep, "of another type")
		s.record.Record(fleet.Event{Timestamp: time.Now(), Type: fleet.EventFailed, Service: "web", Message: "of another service"})
		s.happens(fleet.EventHealth, "two")
		synctest.Wait()
		taken, _, bad := v.look()
		if diff := cmp.Diff([]string{"one", "two"}, taken); diff != "" || bad != 0 {
			t.Errorf("%d bad signatures %s", bad, diff)
		}
		m := v.taken[0]
		if m.Type != fleet.EventFailed || m.Data.ID != 2 || !m.Timestamp.Equal(m.Data.Timestamp) || m.Data.Service != "api" {
			t.Errorf("got %+v", m)
		}
		hooks, err := s.sender.List(t.Context())
		if err != nil || len(hooks) != 1 || hooks[0].Delivered != 5 || hooks[0].DeliveredAt.IsZero() || hooks[0].Secret != "" {
			t.Errorf("listed %+v, %v", hooks, err)
		}
	})
}

func TestADeadReceiverDelaysNobodyAndIsSentAllWhenItIsBack(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		dead, lives := s.add(fleet.Webhook{Name: "dead"}), s.add(fleet.Webhook{Name: "lives"})
		dead.answers(func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusInternalServerError) })
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprint(i))
			s.happens(fleet.EventWake, fmt.Sprint(i))
		}
		synctest.Wait()
		if taken, _, _ := lives.look(); len(taken) != 200 {
			t.Errorf("the other receiver took %d of 200", len(taken))
		}
		time.Sleep(30 * time.Second)
		if _, attempts, _ := dead.look(); attempts < 5 || attempts > 7 {
			t.Errorf("%d attempts within 30 s", attempts)
		}
		hooks, _ := s.sender.List(t.Context())
		if h := hooks[0]; h.Name != "dead" || h.Attempts < 5 || h.FailingSince.IsZero() || h.NextAttempt.Before(time.Now()) || h.LastError != "the receiver answers 500 Internal Server Error" {
			t.Errorf("listed %+v", h)
		}
		time.Sleep(5 * time.Minute)
		dead.answers(nil)
		time.Sleep(2 * time.Minute)
		taken, _, bad := dead.look()
		if diff := cmp.Diff(want, taken[:min(200, len(taken))]); diff != "" || bad != 0 {
			t.Errorf("%d bad signatures %s", bad, diff)
		}
		said := s.record.messages(t, fleet.EventWebhook)
		if len(said) != 2 || !strings.Contains(said[0], "Webhook dead fails since ") || !strings.HasPrefix(said[1], "Webhook dead delivers again after ") {
			t.Errorf("said %q", said)
		}
	})
}

func TestASpawnerThatIsReplacedGoesOnWhereItWas(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		v := s.add(fleet.Webhook{Name: "ops"})
		s.happens(fleet.EventWake, "one")
		synctest.Wait()
		v.answers(func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusBadGateway) })
		s.happens(fleet.EventWake, "two")
		time.Sleep(time.Minute / 2)
		s.end()
		s.happens(fleet.EventWake, "three")
		v.answers(nil)
		s.begin()
		synctest.Wait()
		if taken, _, bad := v.look(); cmp.Diff([]string{"one", "two", "three"}, taken) != "" || bad != 0 {
			t.Errorf("took %v, %d bad signatures", taken, bad)
		}
		// A process that was killed between the answer and its note sends it again, under the same id.
		s.end()
		if err := s.store.Webhooks().Advance(t.Context(), "ops", 2, time.Now()); err != nil {
			t.Fatal(err)
		}
		s.begin()
		synctest.Wait()
		if taken, _, _ := v.look(); len(taken) != 4 || taken[3] != "three" || v.ids[3] != v.ids[2] || v.ids[2] == v.ids[1] {
			t.Errorf("took %v as %v", taken, v.ids)
		}
	})
}

func TestAnEventThatIsNotTakenForADayIsLeftOutAndThatIsSaid(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		v := s.add(fleet.Webhook{Name: "ops", Types: []fleet.EventType{fleet.EventWake}})
		v.answers(func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusNotFound) })
		for i := range 50 {
			s.happens(fleet.EventWake, fmt.Sprint("old ", i))
		}
		time.Sleep(giveUpAfter + 2*time.Minute)
		s.happens(fleet.EventWake, "new")
		synctest.Wait()
		v.answers(nil)
		time.Sleep(2 * time.Minute)
		if taken, _, _ := v.look(); cmp.Diff([]string{"new"}, taken) != "" {
			t.Errorf("took %v", taken)
		}
		said := s.record.messages(t, fleet.EventWebhook)
		if last := said[len(said)-1]; !strings.HasSuffix(last, "; 50 events are given up, since not taken by its receiver within 24h0m0s") {
			t.Errorf("said %q", said)
		}
	})
}

func TestWhatHappenedWhileTheSpawnerWasDownIsNotLeftOutForOneFailure(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		v := s.add(fleet.Webhook{Name: "ops"})
		s.end()
		s.happens(fleet.EventFailed, "one")
		s.happens(fleet.EventFailed, "two")
		time.Sleep(2 * giveUpAfter)
		v.answers(func(w http.ResponseWriter, attempt int) {
			if attempt == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		s.begin()
		time.Sleep(time.Minute)
		if taken, _, _ := v.look(); !slices.Equal(taken, []string{"one", "two"}) {
			t.Errorf("taken %q, want both", taken)
		}
	})
}

func TestARedirectIsNotFollowedAndARetryAfterIsKept(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		v, elsewhere := s.add(fleet.Webhook{Name: "ops"}), &receiver{}
		s.stands("elsewhere", elsewhere)
		v.answers(func(w http.ResponseWriter, attempt int) {
			switch attempt {
			case 1:
				w.Header().Set("Location", "https://elsewhere/")
				w.WriteHeader(http.StatusTemporaryRedirect)
			case 2:
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		s.happens(fleet.EventWake, "one")
		time.Sleep(time.Hour)
		if _, attempts, _ := elsewhere.look(); attempts != 0 {
			t.Errorf("the redirect was followed")
		}
		taken, attempts, bad := v.look()
		if len(taken) == 0 || attempts < 3 || bad != 0 {
			t.Fatalf("took %v after %d attempts, %d bad signatures", taken, attempts, bad)
		}
		if wait := v.attempts[2].Sub(v.attempts[1]); wait < 10*time.Minute || wait > 11*time.Minute {
			t.Errorf("it asked for 10 minutes and got %s", wait)
		}
	})
}

func TestNeitherSecretNorURLIsTold(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		v := s.add(fleet.Webhook{Name: "ops"})
		s.stands("ops", nil) // nobody answers
		s.happens(fleet.EventWake, "one")
		time.Sleep(3 * time.Minute)
		hooks, err := s.sender.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.store.Webhooks().List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		told := s.log.String() + strings.Join(s.record.messages(t, fleet.EventWebhook), "\n") + hooks[0].LastError + fmt.Sprintf("%+v", stored[0].Key)
		for _, private := range []string{strings.TrimPrefix(v.secret, "whsec_"), "secret-in-path"} {
			if strings.Contains(told, private) {
				t.Errorf("%q is told: %s", private, told)
			}
		}
		if !strings.Contains(told, "Webhook ops fails since") || hooks[0].LastError != "unexpected EOF" {
			t.Errorf("told %s", told)
		}
	})
}

func TestARemovedWebhookIsSentNothing(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		v := s.add(fleet.Webhook{Name: "ops"})
		v.answers(func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusInternalServerError) })
		s.happens(fleet.EventWake, "one")
		synctest.Wait()
		if err := s.sender.Remove(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		_, before, _ := v.look()
		time.Sleep(time.Hour)
		if _, after, _ := v.look(); after != before {
			t.Errorf("%d attempts after it was removed", after-before)
		}
		if err := s.sender.Remove(t.Context(), "ops"); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("removed again: %v", err)
		}
		s.add(fleet.Webhook{Name: "ops"}) // the name is free again
	})
}

func TestWebhooksMayBeRemovedWhileTheSenderEnds(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		for i := range mostWebhooks {
			s.add(fleet.Webhook{Name: fmt.Sprintf("ops-%d", i)})
		}
		ended := make(chan struct{})
		go func() { defer close(ended); s.end() }()
		for i := range mostWebhooks {
			if err := s.sender.Remove(t.Context(), fmt.Sprintf("ops-%d", i)); err != nil {
				t.Error(err)
			}
		}
		<-ended
	})
}

// unread is a store that can be written and not read.
type unread struct{ Store }

func (unread) List(context.Context) ([]fleet.StoredWebhook, error) {
	return nil, fleet.Errorf(fleet.Unavailable, "the database cannot be read")
}

func TestAWebhookThatIsStoredIsAnsweredAlthoughNothingCanBeRead(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.happens(fleet.EventDeploy, "before")
		s.sender.config.Store = unread{s.sender.config.Store}
		made, err := s.sender.Add(t.Context(), fleet.Webhook{Name: "chat", URL: "https://chat/"})
		if err != nil || made.Secret == "" || made.Delivered != 1 || made.CreatedAt.IsZero() {
			t.Fatalf("%+v, %v", made, err)
		}
		v := &receiver{secret: made.Secret}
		s.stands("chat", v)
		s.happens(fleet.EventDeploy, "after")
		time.Sleep(time.Minute)
		if taken, _, bad := v.look(); !slices.Equal(taken, []string{"after"}) || bad > 0 {
			t.Errorf("taken %q, %d of them badly signed", taken, bad)
		}
	})
}

func TestATestMessageIsSentOnceAndItsAnswerTold(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		v := s.add(fleet.Webhook{Name: "ops"})
		result, err := s.sender.Test(t.Context(), "ops", "ci")
		if taken, _, bad := v.look(); err != nil || result.Status != 204 || bad != 0 || taken[0] != "Test of webhook ops, asked for by ci" {
			t.Errorf("got %+v, %v; it took %v", result, err, taken)
		}
		v.answers(func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusForbidden) })
		if _, err = s.sender.Test(t.Context(), "ops", "ci"); fleet.KindOf(err) != fleet.BadGateway || err.Error() != "the test was not taken: the receiver answers 403 Forbidden" {
			t.Errorf("got %v", err)
		}
		if _, err := s.sender.Test(t.Context(), "none", "ci"); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("got %v", err)
		}
		if _, attempts, _ := v.look(); attempts != 2 {
			t.Errorf("%d attempts, want 2", attempts)
		}
	})
}

func TestAWebhookThatMakesNoSenseIsRefusedByFieldAndStoresNothing(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		good := fleet.Webhook{Name: "ops", URL: "https://example.com/hook"}
		for field, change := range map[string]func(*fleet.Webhook){
			"name":     func(h *fleet.Webhook) { h.Name = "a b" },
			"url":      func(h *fleet.Webhook) { h.URL = "ftp://example.com" },
			"types[1]": func(h *fleet.Webhook) { h.Types = []fleet.EventType{fleet.EventWake, "wakes"} },
			"service":  func(h *fleet.Webhook) { h.Service = "a b" },
			"secret":   func(h *fleet.Webhook) { h.Secret = "whsec_c2hvcnQ=" },
		} {
			hook := good
			change(&hook)
			_, err := s.sender.Add(t.Context(), hook)
			if fleet.KindOf(err) != fleet.Invalid || !strings.HasPrefix(err.Error(), field) || strings.Contains(err.Error(), "c2hvcnQ") {
				t.Errorf("%s: got %v", field, err)
			}
		}
		for _, url := range []string{"", "example.com", "https://", "https://u:pass@example.com", "https://example.com/#x", "https:example.com", "http://%zz"} {
			if _, err := s.sender.Add(t.Context(), fleet.Webhook{Name: "ops", URL: url}); fleet.KindOf(err) != fleet.Invalid || strings.Contains(err.Error(), "pass@") {
				t.Errorf("%q: got %v", url, err)
			}
		}
		if hooks, err := s.sender.List(t.Context()); err != nil || len(hooks) != 0 {
			t.Errorf("stored %+v, %v", hooks, err)
		}
		for i := range mostWebhooks {
			s.add(fleet.Webhook{Name: fmt.Sprint("h", i), Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
		}
		if _, err := s.sender.Add(t.Context(), good); fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("one too many: %v", err)
		}
	})
}
