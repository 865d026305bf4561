package access

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
)

// loginAs logs in and returns the kind of the refusal and its Retry-After.
func (s site) loginAs(t *testing.T, user, password, address string) (fleet.Kind, time.Duration) {
	t.Helper()
	_, err := s.Login(t.Context(), user, password, address)
	if err == nil {
		return "", 0
	}
	var shown *fleet.Error
	if !errors.As(err, &shown) {
		t.Fatalf("got %v", err)
	}
	return shown.Kind, shown.RetryAfter
}

func TestFailedLoginsWaitOneSecondDoublingToSixty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
			want *= time.Second
			if kind, after := s.loginAs(t, "alice", "wrong", "10.0.0.1:99"); kind != fleet.Unauthorized || after != want {
				t.Fatalf("failure %d: got %v, retry after %v, want %v", i+1, kind, after, want)
			}
			time.Sleep(want - time.Millisecond)
			if kind, after := s.loginAs(t, "alice", alicesPassword, "10.0.0.1:100"); kind != fleet.Busy || after != time.Millisecond {
				t.Fatalf("before the delay %d is over: got %q, retry after %v", i+1, kind, after)
			}
			time.Sleep(time.Millisecond)
		}
		if kind, _ := s.loginAs(t, "alice", alicesPassword, "10.0.0.1"); kind != "" {
			t.Errorf("the right password after the delay: %v", kind)
		}
		if kind, after := s.loginAs(t, "alice", "wrong", "10.0.0.1"); kind != fleet.Unauthorized || after != time.Second {
			t.Errorf("after a success: got %v, retry after %v, want it to begin anew", kind, after)
		}
	})
}

func TestOthersAreNotSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.write(t, line("alice", alicesPassword), line("bob", "bobs"))
		token := s.store.give("ci", fleet.ScopeRead, time.Time{})
		for range 5 {
			s.loginAs(t, "alice", "wrong", "10.0.0.1")
			time.Sleep(20 * time.Second)
		}
		s.loginAs(t, "alice", "wrong", "10.0.0.1")
		if kind, _ := s.loginAs(t, "alice", alicesPassword, "10.0.0.2"); kind != "" {
			t.Errorf("the account from another address: %v", kind)
		}
		if kind, _ := s.loginAs(t, "bob", "bobs", "10.0.0.1"); kind != "" {
			t.Errorf("another account from the address: %v", kind)
		}
		r := request("token", token)
		r.RemoteAddr = "10.0.0.1:1"
		if _, err := s.Authenticate(r); err != nil {
			t.Errorf("a token from the address: %v", err)
		}
	})
}

func TestBasicAuthenticationIsSlowedTogetherWithLogins(t *testing.T) {
	s := newSite(t)
	r := basic("alice", "wrong") // from 192.0.2.1
	_, err := s.Authenticate(r)
	wantKind(t, err, fleet.Unauthorized)
	if kind, _ := s.loginAs(t, "alice", alicesPassword, "192.0.2.1:5"); kind != fleet.Busy {
		t.Errorf("got %v, want %v", kind, fleet.Busy)
	}
}

func TestOneCallersAddressesOfIPv6CountAsOne(t *testing.T) {
	s := newSite(t)
	for i, address := range []string{"[2001:db8:0:1::1]:5", "2001:db8:0:1:ffff::2", "[2001:db8:0:1::3%eth0]:6"} {
		want := fleet.Busy
		if i == 0 {
			want = fleet.Unauthorized
		}
		if kind, _ := s.loginAs(t, "alice", "wrong", address); kind != want {
			t.Errorf("%s: got %v, want %v", address, kind, want)
		}
	}
	if kind, _ := s.loginAs(t, "alice", "wrong", "[2001:db8:0:2::1]:5"); kind != fleet.Unauthorized {
		t.Errorf("another network: got %v", kind)
	}
	if host("[::ffff:10.0.0.1]:5") != host("10.0.0.1") {
		t.Error("an IPv4 address written as IPv6 counts as another")
	}
}

func TestAPairIsForgottenAfterAQuietTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for range 4 {
			s.loginAs(t, "alice", "wrong", "10.0.0.1")
			time.Sleep(time.Minute)
		}
		time.Sleep(forgetAfter)
		if kind, after := s.loginAs(t, "alice", "wrong", "10.0.0.1"); kind != fleet.Unauthorized || after != time.Second {
			t.Errorf("got %v, retry after %v, want 1s", kind, after)
		}
	})
}

func TestOfManyAttemptsAtOnceOnlyOneIsLookedAt(t *testing.T) {
	s := newSite(t)
	var looked, refused atomic.Int32
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			switch _, err := s.Login(t.Context(), "alice", "wrong", "10.0.0.1"); fleet.KindOf(err) {
			case fleet.Unauthorized:
				looked.Add(1)
			case fleet.Busy:
				refused.Add(1)
			}
		})
	}
	group.Wait()
	if looked.Load() != 1 || refused.Load() != 49 {
		t.Errorf("%d were looked at and %d refused", looked.Load(), refused.Load())
	}
}

func TestWhatIsRememberedOfFailuresIsBounded(t *testing.T) {
	fail := func() bool { return false }
	limited := newThrottle(10)
	for i := range 1000 {
		limited.attempt(pairOf(fmt.Sprint(i), host("10.0.0.1")), fail)
	}
	if len(limited.byPair) != 10 || limited.recent.Len() != 10 {
		t.Errorf("%d pairs and %d failures are remembered, want 10", len(limited.byPair), limited.recent.Len())
	}
	if _, wait := limited.attempt(pairOf("999", host("10.0.0.1")), fail); !wait.refused {
		t.Error("the pair that failed last was forgotten")
	}
	if _, wait := limited.attempt(pairOf("0", host("10.0.0.1")), fail); wait.refused {
		t.Error("the pair that failed first was remembered")
	}
}

func TestRefusedLoginsAreToldWithoutWhatWasTyped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.loginAs(t, "alice", "wrong-password", "10.0.0.1:5")
		s.loginAs(t, "my-secret-in-the-wrong-field", "x", "10.0.0.2")
		s.loginAs(t, "alice", alicesPassword, "10.0.0.1:5") // slowed: no event of its own
		want := "access: login of account \"alice\" from 10.0.0.1 refused\naccess: login of an unknown account from 10.0.0.2 refused"
		if got := s.events.text(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if at := s.events.events[0].Timestamp; !at.Equal(time.Now()) {
			t.Errorf("the event is of %v", at)
		}
	})
}

func TestRefusedTokensAreToldNowAndThenWithoutThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		refuse := func(token string) {
			if _, err := s.Authenticate(request("token", token)); fleet.KindOf(err) != fleet.Unauthorized {
				t.Errorf("got %v", err)
			}
		}
		for range 300 {
			refuse("spawner_not-the-right-one")
			time.Sleep(time.Second)
		}
		expired := s.store.give("ci", fleet.ScopeRead, time.Now().Add(-time.Hour))
		time.Sleep(tokenEvery)
		refuse(expired)
		want := "access: a token that is not known or has expired, from 192.0.2.1, refused\n" +
			"access: a token that is not known or has expired, from 192.0.2.1, refused (and 299 more before it)"
		if got := s.events.text(); got != want {
			t.Errorf("got\n%s", got)
		}
	})
}

func TestAnAttackDoesNotFillTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for i := range 1000 {
			s.loginAs(t, fmt.Sprint("guess", i), "x", "10.0.0.1")
		}
		if got := len(s.events.events); got != mostReports {
			t.Errorf("%d events, want %d", got, mostReports)
		}
		time.Sleep(reportEvery)
		s.loginAs(t, "guess", "x", "10.0.0.1")
		if got := s.events.text(); !strings.HasSuffix(got, "(and 980 more before it)") {
			t.Errorf("the last of the events does not count the others: %s", got)
		}
	})
}
