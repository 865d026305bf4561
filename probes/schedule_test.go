package probes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

// app is a replica whose health the test decides.
type app struct{ sick, hung atomic.Bool }

// watched runs a Prober over apps by their ids and keeps what it reports.
type watched struct {
	*Prober
	apps    map[string]*app
	mu      sync.Mutex
	changes []string
	probes  map[string]int
}

func watching(t *testing.T, ids ...string) *watched {
	w := &watched{apps: map[string]*app{}, probes: map[string]int{}}
	for _, id := range ids {
		w.apps[id] = &app{}
	}
	w.Prober = New(Config{
		Execer: execFunc(func(ctx context.Context, _, id string, _ []string) (fleet.ExecResult, error) {
			w.mu.Lock()
			w.probes[id]++
			w.mu.Unlock()
			if w.apps[id].hung.Load() {
				<-ctx.Done()
				return fleet.ExecResult{}, ctx.Err()
			}
			if w.apps[id].sick.Load() {
				return fleet.ExecResult{ExitCode: 1}, nil
			}
			return fleet.ExecResult{}, nil
		}),
		Report: func(c Change) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changes = append(w.changes, c.Target.Replica+" "+string(c.Health)+" "+c.Reason)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return w
}

func (w *watched) watch(id string, health fleet.Health, change func(*fleet.HealthCheck)) {
	check := fleet.HealthCheck{Type: fleet.CheckCommand, Command: []string{"check"}}
	if change != nil {
		change(&check)
	}
	w.Watch(Target{Replica: id, Service: "api", AppID: id}, check, health, time.Now())
}

func (w *watched) seen() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.changes
	w.changes = nil
	return seen
}

// after lets that much time pass.
func after(d time.Duration) { <-time.After(d) }

func TestSchedulerReportsEachChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, "api-0")
		w.watch("api-0", fleet.Healthy, nil)
		after(time.Minute)
		if diff := cmp.Diff([]string(nil), w.seen()); diff != "" {
			t.Errorf("while healthy:\n%s", diff)
		}
		w.apps["api-0"].sick.Store(true)
		after(17 * time.Second) // an interval is 9 s at least
		if diff := cmp.Diff([]string(nil), w.seen()); diff != "" {
			t.Errorf("after at most 2 failures:\n%s", diff)
		}
		after(43 * time.Second)
		if diff := cmp.Diff([]string{"api-0 unhealthy the command ended with exit code 1"}, w.seen()); diff != "" {
			t.Errorf("after a minute of failures:\n%s", diff)
		}
		w.apps["api-0"].sick.Store(false)
		after(11 * time.Second)
		if diff := cmp.Diff([]string{"api-0 healthy "}, w.seen()); diff != "" {
			t.Errorf("recovered:\n%s", diff)
		}
	})
}

func TestAHungAppIsFoundOutAfterIntervalTimesRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, "api-0")
		w.apps["api-0"].hung.Store(true)
		w.watch("api-0", fleet.Healthy, nil)
		after(3*fleet.DefaultInterval.Std() + fleet.DefaultTimeout.Std())
		if diff := cmp.Diff([]string{"api-0 unhealthy cannot run the command: no answer in time"}, w.seen()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAHangingProbeDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, "api-0", "api-1")
		w.apps["api-0"].hung.Store(true)
		w.watch("api-0", fleet.Starting, func(c *fleet.HealthCheck) { c.Timeout = fleet.Duration(time.Hour) })
		w.watch("api-1", fleet.Starting, nil)
		after(11 * time.Second)
		if diff := cmp.Diff([]string{"api-1 healthy "}, w.seen()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFailuresWithinTheStartPeriodDoNotCountUntilTheFirstSuccess(t *testing.T) {
	long := func(c *fleet.HealthCheck) { c.StartPeriod = fleet.Duration(2 * time.Minute) }
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, "api-0", "api-1")
		w.apps["api-0"].sick.Store(true)
		w.watch("api-0", fleet.Starting, long)
		w.watch("api-1", fleet.Starting, long)
		after(30 * time.Second)
		w.apps["api-1"].sick.Store(true)
		after(80 * time.Second)
		want := []string{"api-1 healthy ", "api-1 unhealthy the command ended with exit code 1"}
		if diff := cmp.Diff(want, w.seen()); diff != "" {
			t.Errorf("within the start period:\n%s", diff)
		}
		after(50 * time.Second)
		if diff := cmp.Diff([]string{"api-0 unhealthy the command ended with exit code 1"}, w.seen()); diff != "" {
			t.Errorf("after it:\n%s", diff)
		}
	})
}

func TestAForgottenReplicaIsProbedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, "api-0", "api-1")
		w.apps["api-0"].hung.Store(true)
		w.watch("api-0", fleet.Healthy, func(c *fleet.HealthCheck) { c.Retries = 1 })
		after(11 * time.Second)
		w.seen()
		w.Forget("api-0")
		w.Forget("never-watched")
		before := w.probes["api-0"]
		after(time.Hour)
		synctest.Wait()
		if w.probes["api-0"] != before || len(w.watches) != 0 {
			t.Errorf("%d probes more, %d watched", w.probes["api-0"]-before, len(w.watches))
		}
	})
}

func TestWatchingAgainReplacesTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, "api-0")
		w.watch("api-0", fleet.Healthy, nil)
		w.watch("api-0", fleet.Healthy, func(c *fleet.HealthCheck) { c.Interval = fleet.Duration(time.Minute) })
		after(10 * time.Minute)
		synctest.Wait()
		if got := w.probes["api-0"]; got < 9 || got > 12 {
			t.Errorf("%d probes in 10 minutes, want one a minute", got)
		}
	})
}

func TestWhatDockerTellsIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, "api-0")
		w.watch("api-0", fleet.Healthy, func(c *fleet.HealthCheck) { c.Type = fleet.CheckDocker })
		after(time.Hour)
		synctest.Wait()
		if w.probes["api-0"] != 0 {
			t.Errorf("%d probes", w.probes["api-0"])
		}
	})
}

func TestReplicasWatchedBeforeRunAreProbedOnceItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probed := make(chan struct{}, 100)
		p := New(Config{Execer: execFunc(func(context.Context, string, string, []string) (fleet.ExecResult, error) {
			probed <- struct{}{}
			return fleet.ExecResult{}, nil
		})})
		p.Watch(Target{Replica: "api-0"}, fleet.HealthCheck{Type: fleet.CheckCommand, Command: []string{"check"}}, fleet.Starting, time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if len(probed) == 0 {
			t.Error("no probe")
		}
	})
}

func TestAReplicaIsHealthyAgainAfterAsManySuccessesInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, "api-0")
		w.watch("api-0", fleet.Unhealthy, func(c *fleet.HealthCheck) { c.Successes = 3 })
		until := func(probes int) {
			for probed := 0; probed < probes; {
				after(time.Second)
				synctest.Wait()
				w.mu.Lock()
				probed = w.probes["api-0"]
				w.mu.Unlock()
			}
		}
		until(2)
		w.apps["api-0"].sick.Store(true)
		until(3)
		w.apps["api-0"].sick.Store(false)
		until(5)
		if diff := cmp.Diff([]string(nil), w.seen()); diff != "" {
			t.Errorf("after two in a row:\n%s", diff)
		}
		until(6)
		if diff := cmp.Diff([]string{"api-0 healthy "}, w.seen()); diff != "" {
			t.Errorf("after three:\n%s", diff)
		}
	})
}

func TestAHundredProbesFallOnAHundredInstants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		byInstant, late := map[time.Duration]int{}, time.Duration(0)
		began := time.Now()
		last := map[string]time.Time{}
		p := New(Config{Execer: execFunc(func(_ context.Context, _, id string, _ []string) (fleet.ExecResult, error) {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			byInstant[now.Sub(began).Truncate(10*time.Millisecond)]++
			if before, ok := last[id]; ok {
				late = max(late, now.Sub(before)-time.Second)
			}
			last[id] = now
			return fleet.ExecResult{}, nil
		})})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for n := range 100 { // all at once, as after a start of the spawner
			id := fmt.Sprintf("api-%d", n)
			p.Watch(Target{Replica: id, AppID: id}, fleet.HealthCheck{Type: fleet.CheckCommand, Command: []string{"check"}, Interval: fleet.Duration(time.Second)}, fleet.Healthy, time.Now())
		}
		if err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		most := 0
		for _, n := range byInstant {
			most = max(most, n)
		}
		if most > 12 { // one on the average
			t.Errorf("%d probes fell on one hundredth of a second", most)
		}
		if late > 0 {
			t.Errorf("a probe was %s late", late)
		}
	})
}

func TestAChangeSaysWhetherTheAppAnswered(t *testing.T) {
	var silent atomic.Bool
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() {
			<-r.Context().Done()
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	changes := make(chan Change, 100)
	p := New(Config{Report: func(c Change) { changes <- c }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	check := httpCheck(target, "localhost", "/")
	check.Interval, check.Timeout, check.Retries = fleet.Duration(100*time.Millisecond), fleet.Duration(300*time.Millisecond), 2
	p.Watch(target, check, fleet.Healthy, time.Now())
	next := func(answered bool) {
		t.Helper()
		select {
		case c := <-changes:
			if c.Health != fleet.Unhealthy || c.Answered != answered {
				t.Errorf("%+v, want one that says %v", c, answered)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is reported")
		}
	}
	next(true)
	silent.Store(true) // then as many probes as make unhealthy say so
	next(false)
	silent.Store(false)
	next(true)
	cancel()
	<-ended
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	if !p.Answers(t.Context(), broken) {
		t.Error("an app that answers 500 does not answer")
	}
	if p.Answers(t.Context(), closedPort(t)) || p.Answers(t.Context(), Target{Addr: target.Addr}) {
		t.Error("nothing answers")
	}
}
