package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

// observed keeps what an engine has told, without what tells nothing new.
type observed struct {
	mu     sync.Mutex
	lines  []string
	took   time.Duration // of the last wake
	stored int
}

func (o *observed) add(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, fmt.Sprintf(format, args...))
}

func (o *observed) Woke(service string, depth fleet.SleepMode, took time.Duration, err error) {
	if err == nil {
		o.add("woke %s %s", service, depth)
	} else {
		o.add("woke %s %s not: %s", service, depth, fleet.KindOf(err))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took = took
}

func (o *observed) Slept(service string, depth fleet.SleepMode) { o.add("slept %s %s", service, depth) }

func (o *observed) Restarting(service string, reason RestartReason) {
	o.add("restarting %s %s", service, reason)
}

func (o *observed) JobEnded(job fleet.Job) { o.add("%s %s", job.Kind, job.State) }

func (o *observed) Stored(events []fleet.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stored += len(events)
}

// since returns what was told since the last look.
func (o *observed) since() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.lines
	o.lines = nil
	return lines
}

// inObservedWorld is inWorld with an engine that tells what happens.
func inObservedWorld(t *testing.T, test func(w *world, o *observed)) {
	inWorld(t, func(w *world) {
		w.stop()
		o := &observed{}
		w.config.Observer = o
		w.start()
		test(w, o)
	})
}

func (o *observed) want(t *testing.T, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, o.since()); diff != "" {
		t.Errorf("what was told (-want +got):\n%s", diff)
	}
}

func TestAnObserverIsToldEachWakeAndSleepOnceWithItsDepth(t *testing.T) {
	for _, mode := range []fleet.SleepMode{fleet.SleepPause, fleet.SleepStop, fleet.SleepDeep} {
		t.Run(string(mode), func(t *testing.T) {
			inObservedWorld(t, func(w *world, o *observed) {
				spec := w.spec("web", "app:1", 2)
				spec.Sleep.Mode = mode
				w.deployed(spec)
				o.want(t, "deploy succeeded")
				w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
				o.want(t, "slept web "+string(mode), "sleep succeeded")
				began := time.Now()
				if _, err := w.request("web", 0); err != nil {
					t.Fatal(err)
				}
				took := time.Since(began)
				o.want(t, "woke web "+string(mode))
				if o.took <= 0 || o.took > took {
					t.Errorf("the wake is told to have taken %s, the request took %s", o.took, took)
				}
			})
		})
	}
}

func TestAnObserverIsToldAWakeThatFails(t *testing.T) {
	inObservedWorld(t, func(w *world, o *observed) {
		w.asleep(w.spec("web", "app:1", 1))
		o.since()
		w.behave("app:1", behaviour{exits: true, exitCode: 9})
		if _, err := w.request("web", 0); err == nil {
			t.Fatal("it answers")
		}
		o.want(t, "woke web stop not: bad_gateway")
	})
}

func TestAnObserverIsToldWhyReplicasAreRestarted(t *testing.T) {
	inObservedWorld(t, func(w *world, o *observed) {
		w.deployed(w.spec("web", "app:1", 2))
		o.since()
		w.crash("web-0", 1)
		told := func() bool { o.mu.Lock(); defer o.mu.Unlock(); return len(o.lines) > 0 }
		w.until("the crash is told", told)
		o.want(t, "restarting web crashed")
		w.until("both serve", func() bool { return len(w.endpoints("web")) == 2 })
		w.hang("web-1")
		w.until("it is told", told)
		o.want(t, "restarting web unhealthy")
		w.until("both serve", func() bool { return len(w.endpoints("web")) == 2 })
		w.crash("web-0.net", 0)
		w.until("the sandbox's end is told", told)
		o.want(t, "restarting web cut_off")
	})
}

func TestEveryStoredEventIsToldAndFollowersAreCounted(t *testing.T) {
	inObservedWorld(t, func(w *world, o *observed) {
		if load := w.engine().Load(); load != (Load{}) {
			t.Errorf("at rest: %+v", load)
		}
		o.mu.Lock()
		before := o.stored
		o.mu.Unlock()
		ctx, leave := context.WithCancel(w.ctx)
		_, events, err := w.engine().FollowEvents(ctx, fleet.EventFilter{})
		if err != nil {
			t.Fatal(err)
		}
		w.deployed(w.spec("web", "app:1", 1))
		if load := w.engine().Load(); load.EventFollowers != 1 {
			t.Errorf("with a follower: %+v", load)
		}
		time.Sleep(time.Minute)
		leave()
		seen := 0
		for range events {
			seen++
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if told := o.stored - before; seen == 0 || told < seen {
			t.Errorf("%d events are told, a follower saw %d", told, seen)
		}
		if load := w.engine().Load(); load.EventFollowers != 0 {
			t.Errorf("without it: %+v", load)
		}
	})
}
