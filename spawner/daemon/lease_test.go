package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/docker"
)

// fakeLeases gives its answers one after the other, the last one for ever.
type fakeLeases struct {
	mu       sync.Mutex
	answers  []leaseAnswer
	released int
}

type leaseAnswer struct {
	held   bool
	holder string
	err    error
}

func (f *fakeLeases) AcquireLease(context.Context, string, string) (bool, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.answers[0]
	if len(f.answers) > 1 {
		f.answers = f.answers[1:]
	}
	return a.held, a.holder, a.err
}

// set replaces the answers that are left.
func (f *fakeLeases) set(answers ...leaseAnswer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = answers
}

func (f *fakeLeases) ReleaseLease(context.Context, string) error {
	f.released++
	return nil
}

func newLease(answers ...leaseAnswer) (*lease, *fakeLeases) {
	f := &fakeLeases{answers: answers}
	return &lease{leases: f, node: "local", owner: "us", log: slog.New(slog.DiscardHandler)}, f
}

var (
	ours    = leaseAnswer{held: true, holder: "us"}
	theirs  = leaseAnswer{holder: "them"}
	silence = leaseAnswer{err: errors.New("no answer")}
)

func TestAStandbyWaitsForTheLeaseAndBearsAnEngineThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l, f := newLease(theirs, silence, theirs, ours)
		if held, err := l.acquire(t.Context()); !held || err != nil {
			t.Fatalf("got %v, %v", held, err)
		}
		if waited := time.Since(began); waited != 3*docker.LeaseRefresh {
			t.Errorf("waited %s", waited)
		}
		if err := l.release(); err != nil || f.released != 1 {
			t.Errorf("released %d times: %v", f.released, err)
		}
	})
}

func TestAnEngineThatCannotBeReachedAtTheStartIsAnError(t *testing.T) {
	l, f := newLease(silence)
	if held, err := l.acquire(t.Context()); held || !errors.Is(err, silence.err) {
		t.Errorf("got %v, %v", held, err)
	}
	if err := l.release(); err != nil || f.released != 0 {
		t.Errorf("a lease that was never had was given back: %v", err)
	}
}

func TestAStandbyThatIsToldToEndEndsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		l, _ := newLease(theirs)
		if held, err := l.acquire(ctx); held || err != nil {
			t.Errorf("got %v, %v", held, err)
		}
	})
}

func TestAHolderBearsSilenceAndEndsWhenAnotherHasTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l, f := newLease(ours, ours, silence, silence, ours, theirs)
		if held, err := l.acquire(t.Context()); !held || err != nil {
			t.Fatalf("got %v, %v", held, err)
		}
		err := l.keep(t.Context())
		if !errors.Is(err, errLeaseLost) || fleet.KindOf(err) != fleet.Unavailable {
			t.Errorf("got %v", err)
		}
		if lost := time.Since(began); lost != 5*docker.LeaseRefresh {
			t.Errorf("noticed after %s", lost)
		}
		if err := l.release(); err != nil || f.released != 0 {
			t.Errorf("somebody else's lease was given back: %v", err)
		}
	})
}
