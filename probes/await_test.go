package probes

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
)

func TestAwaitTriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Execer: execFunc(func(context.Context, string, string, []string) (fleet.ExecResult, error) {
			return fleet.ExecResult{}, nil
		})})
		began := time.Now()
		if err := p.Await(t.Context(), Target{}, fleet.HealthCheck{Type: fleet.CheckDocker, Command: []string{"check"}, Interval: fleet.Duration(30 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %s, want no time", took)
		}
	})
}

func TestAwaitFollowsTheAppCloselyAndThinsOut(t *testing.T) {
	for _, ready := range []time.Duration{20 * time.Millisecond, 80 * time.Millisecond, 200 * time.Millisecond, 5 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			tries := 0
			p := New(Config{Execer: execFunc(func(context.Context, string, string, []string) (fleet.ExecResult, error) {
				tries++
				if time.Since(began) < ready {
					return fleet.ExecResult{ExitCode: 1}, nil
				}
				return fleet.ExecResult{}, nil
			})})
			if err := p.Await(t.Context(), Target{}, fleet.HealthCheck{Type: fleet.CheckDocker, Command: []string{"check"}}); err != nil {
				t.Fatal(err)
			}
			late := time.Since(began) - ready
			if most := max(10*time.Millisecond, ready/10); late > most {
				t.Errorf("ready after %s: seen %s late, want at most %s", ready, late, most)
			}
			if tries > 200 {
				t.Errorf("ready after %s: %d tries", ready, tries)
			}
		})
	}
}

func TestTheStepAfterARefusedDialIsASmallPartOfTheWaiting(t *testing.T) {
	refused := &errConnect{errors.New("connection refused")}
	tests := []struct {
		kind   fleet.CheckType
		err    error
		waited time.Duration
		want   time.Duration
	}{
		{fleet.CheckTCP, refused, 0, time.Millisecond},
		{fleet.CheckHTTP, refused, 100 * time.Millisecond, 2 * time.Millisecond},
		{fleet.CheckHTTP, refused, time.Minute, mostDialStep},
		{fleet.CheckHTTP, errors.New("503"), 0, 5 * time.Millisecond},
		{fleet.CheckHTTP, errors.New("503"), time.Second, 50 * time.Millisecond},
		{fleet.CheckHTTP, errors.New("503"), time.Minute, mostHTTPStep},
		{fleet.CheckDocker, errors.New("exit 1"), 0, 10 * time.Millisecond},
		{fleet.CheckCommand, errors.New("exit 1"), time.Minute, mostExecStep},
	}
	for _, test := range tests {
		if got := step(test.kind, test.err, test.waited, 0); got != test.want {
			t.Errorf("step(%s, %v, %s) = %s, want %s", test.kind, test.err, test.waited, got, test.want)
		}
	}
}

func TestAwaitSeesARealPortOpen(t *testing.T) {
	target := closedPort(t)
	ready := make(chan error, 1)
	opened := make(chan time.Time, 1)
	time.AfterFunc(60*time.Millisecond, func() {
		listener, err := net.Listen("tcp", target.address(target.Port).String())
		if err != nil {
			opened <- time.Now()
			return // the port was taken by another test's listener: it is open all the same
		}
		opened <- time.Now()
		t.Cleanup(func() { listener.Close() })
	})
	go func() { ready <- New(Config{}).Await(t.Context(), target, fleet.HealthCheck{Type: fleet.CheckTCP}) }()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	if late := time.Since(<-opened); late > 500*time.Millisecond {
		t.Errorf("seen %s late", late)
	}
}

func TestAwaitWaitsForThePortBeforeItRunsACommand(t *testing.T) {
	target := closedPort(t)
	var execs atomic.Int32
	p := New(Config{Execer: execFunc(func(context.Context, string, string, []string) (fleet.ExecResult, error) {
		execs.Add(1)
		return fleet.ExecResult{}, nil
	})})
	began := time.Now()
	if err := p.Await(t.Context(), target, fleet.HealthCheck{Type: fleet.CheckDocker, Command: []string{"check"}}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); execs.Load() != 1 || took < portPatience/2 {
		t.Errorf("%d commands after %s, want one when the port's patience is over", execs.Load(), took)
	}
	open := serve(t, func(http.ResponseWriter, *http.Request) {})
	began = time.Now()
	if err := p.Await(t.Context(), open, fleet.HealthCheck{Type: fleet.CheckDocker, Command: []string{"check"}}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > portPatience/2 {
		t.Errorf("took %s on an open port", took)
	}
}

func TestAwaitThatEndsSaysWhatItWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Execer: execFunc(func(ctx context.Context, _, _ string, _ []string) (fleet.ExecResult, error) {
			return fleet.ExecResult{ExitCode: 7}, nil
		})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		err := p.Await(ctx, Target{Replica: "api-0"}, fleet.HealthCheck{Type: fleet.CheckCommand, Command: []string{"false"}})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "api-0 was not ready: waited for its command check, last: the command ended with exit code 7") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %s, want 1m", took)
		}
	})
}

func TestNoCheckMeansTheSettlingDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := New(Config{}).Await(t.Context(), Target{}, fleet.HealthCheck{Type: fleet.CheckNone}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != fleet.DefaultSettlingDelay.Std() {
			t.Errorf("took %s, want %s", took, fleet.DefaultSettlingDelay)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := New(Config{}).Await(ctx, Target{Replica: "api-0"}, fleet.HealthCheck{Type: fleet.CheckNone, Settle: fleet.Duration(time.Hour)})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
	})
}

func TestAwaitWaitsForAsManySuccessesInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := []int{0, 1, 0, 0, 1, 0, 0, 0, 1}
		tries := 0
		p := New(Config{Execer: execFunc(func(context.Context, string, string, []string) (fleet.ExecResult, error) {
			tries++
			return fleet.ExecResult{ExitCode: results[tries-1]}, nil
		})})
		if err := p.Await(t.Context(), Target{}, fleet.HealthCheck{Type: fleet.CheckCommand, Command: []string{"check"}, Successes: 3}); err != nil {
			t.Fatal(err)
		}
		if tries != 8 {
			t.Errorf("ready after %d tries", tries)
		}
	})
}
