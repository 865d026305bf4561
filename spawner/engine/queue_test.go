package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"edgespawner/fleet"
)

// fullQueue is a world with one worker, which is at work for the next minute, and
// a place for one job, which a deploy of web has: its revision 2.
func fullQueue(t *testing.T, test func(w *world, waiting fleet.Accepted)) {
	t.Helper()
	synctestWorld(t, func(w *world) { w.config.Workers, w.config.QueueSize = 1, 1 }, func(w *world) {
		w.asleep(w.spec("db", "app:1", 1))
		w.deployed(w.spec("web", "app:1", 1))
		w.behave("app:9", behaviour{readyAfter: time.Minute})
		if _, err := w.engine().Deploy(w.ctx, w.spec("api", "app:9", 1), "tester", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		waiting, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		test(w, waiting)
	})
}

func TestAFullQueueRefusesEveryVerbThatWouldWaitAndNothingIsChanged(t *testing.T) {
	fullQueue(t, func(w *world, _ fleet.Accepted) {
		before := w.dump()
		for what, err := range map[string]error{
			"a deploy of another": second(w.engine().Deploy(w.ctx, w.spec("new", "app:1", 1), "tester", false)),
			"a scale":             second(w.engine().Scale(w.ctx, "db", 2, "tester")),
			"a restart":           second(w.engine().Restart(w.ctx, "db", "tester")),
			"a remove":            second(w.engine().Remove(w.ctx, "db", "tester")),
		} {
			var busy *fleet.Error
			if !errors.As(err, &busy) || busy.Kind != fleet.Busy || busy.RetryAfterSeconds() == 0 || !strings.Contains(busy.Message, "--queue-size") {
				t.Errorf("%s: %v", what, err)
			}
		}
		time.Sleep(time.Second)
		if after := w.dump(); after != before {
			t.Errorf("something was changed:\n%s\n%s", before, after)
		}
		if _, err := w.engine().Service("new"); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("the service that was refused: %v", err)
		}
	})
}

func TestAFullQueueTakesWhatNeedsNoPlaceInIt(t *testing.T) {
	fullQueue(t, func(w *world, waiting fleet.Accepted) {
		began := time.Now()
		w.succeeded(w.engine().Wake(w.ctx, "db", "tester"))
		if took := time.Since(began); took > time.Second {
			t.Errorf("the wake took %s", took)
		}
		newer, err := w.engine().Deploy(w.ctx, w.spec("web", "app:3", 1), "tester", false)
		if err != nil {
			t.Fatalf("the deploy that takes the place of the one that waits: %v", err)
		}
		if job := w.wait(waiting); job.State != fleet.JobCanceled || !strings.Contains(job.Error, "newer deploy") || len(job.Steps) != 0 {
			t.Errorf("the older one %s: %s\n%s", job.State, job.Error, describeSteps(job))
		}
		if job := w.wait(newer); job.State != fleet.JobSucceeded {
			t.Errorf("the newer one %s: %s", job.State, job.Error)
		}
		w.settledOn("web", 3, 1)
	})
}

func TestADeployThatWaitsForAWorkerIsSupersededAndTheNewerOneKeepsItsClaim(t *testing.T) {
	fullQueue(t, func(w *world, waiting fleet.Accepted) {
		newer := w.spec("web", "app:3", 1)
		newer.Route = &fleet.Route{Hosts: []string{"wanted.example.com"}}
		accepted, err := w.engine().Deploy(w.ctx, newer, "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		if job := w.wait(waiting); job.State != fleet.JobCanceled {
			t.Errorf("the older one %s", job.State)
		}
		other := w.spec("new", "app:1", 1)
		other.Route = newer.Route
		if _, err := w.engine().Deploy(w.ctx, other, "tester", false); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("the host is claimed: %v", err)
		}
		if job := w.wait(accepted); job.State != fleet.JobSucceeded {
			t.Errorf("the newer one %s: %s", job.State, job.Error)
		}
		if revisions, err := w.engine().Revisions(w.ctx, "web"); err != nil || revisions[1].Outcome != fleet.OutcomeCanceled {
			t.Errorf("%+v, %v", revisions, err)
		}
	})
}

func TestAPortIsGivenOnceHoweverManyAskForItAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		const askers = 20
		results := make(chan error, askers)
		for n := range askers {
			go func() {
				spec := w.spec(fmt.Sprintf("web%d", n), "app:1", 1)
				spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
				_, err := w.engine().Deploy(w.ctx, spec, "tester", false)
				results <- err
			}()
		}
		taken := 0
		for range askers {
			var clash *fleet.Error
			switch err := <-results; {
			case err == nil:
				taken++
			case !errors.As(err, &clash) || clash.Kind != fleet.Conflict || clash.Field != "ports[0].host_port":
				t.Errorf("got %v", err)
			}
		}
		if taken != 1 {
			t.Errorf("%d services were given port 80", taken)
		}
		if services := w.engine().Services(); len(services) != 1 {
			t.Errorf("%d services are stored", len(services))
		}
	})
}

// TestWhateverIsAskedAtOnceNoContainerIsChangedByTwoCallsAtATime asks for
// everything at once, by many; the world notes two calls at one container.
func TestWhateverIsAskedAtOnceNoContainerIsChangedByTwoCallsAtATime(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.behave("app:1", behaviour{readyAfter: 300 * time.Millisecond, stopTakes: 200 * time.Millisecond})
				w.behave("app:2", behaviour{readyAfter: 300 * time.Millisecond, stopTakes: 200 * time.Millisecond})
				w.deployed(w.spec("web", "app:1", 2))
				random := rand.New(rand.NewPCG(seed, 1))
				var asking sync.WaitGroup
				for range 15 {
					ask, after := random.IntN(7), time.Duration(random.IntN(4000))*time.Millisecond
					asking.Go(func() {
						time.Sleep(after)
						w.askFor(ask)
					})
				}
				asking.Wait()
				w.until("every job has ended", func() bool {
					unfinished, err := w.store.Jobs().List(w.ctx, "", true, 0)
					return err == nil && len(unfinished) == 0
				})
				if _, err := w.request("web", 0); err != nil {
					t.Error(err)
				}
				w.checkSettled(false)
			})
		})
	}
}

// askFor asks for one of seven things; a refusal is an answer too.
func (w *world) askFor(what int) {
	e := w.engine()
	switch what {
	case 0:
		_, _ = e.Deploy(w.ctx, w.spec("web", "app:2", 3), "tester", true)
	case 1:
		_, _ = e.Scale(w.ctx, "web", 3, "tester")
	case 2:
		_, _ = e.Restart(w.ctx, "web", "tester")
	case 3:
		_, _ = e.Sleep(w.ctx, "web", "tester")
	case 4:
		_, _ = e.Wake(w.ctx, "web", "tester")
	case 5:
		w.crash("web-0", 1)
	case 6:
		_, _ = w.request("web", 100*time.Millisecond)
	}
}
