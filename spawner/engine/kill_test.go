package engine

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
)

// cutOff is something that is asked of the engine and cut off in the middle.
type cutOff struct {
	prepare func(w *world)
	ask     func(w *world) (fleet.Accepted, error)
	asleep  bool // the service sleeps before and after
	step    int  // from one call at which the process is killed to the next
	makes   int  // apps, of which each is made and started once, however often the process ends; 0 = it depends
}

var everyStep = flag.Bool("every", false, "kill at every step of a job, which takes minutes")

// TestAProcessThatIsKilledAtAnyStepIsTakenUpByTheNext kills the process at the
// changes that a job makes of anything, and lets the next one go on.
func TestAProcessThatIsKilledAtAnyStepIsTakenUpByTheNext(t *testing.T) {
	deploy := func(change func(w *world, spec *fleet.Spec)) func(w *world) (fleet.Accepted, error) {
		return func(w *world) (fleet.Accepted, error) {
			spec := w.spec("web", "app:2", 2)
			if change != nil {
				change(w, &spec)
			}
			return w.engine().Deploy(w.ctx, spec, "tester", false)
		}
	}
	deployed := func(change func(spec *fleet.Spec)) func(w *world) {
		return func(w *world) {
			spec := w.spec("web", "app:1", 2)
			if change != nil {
				change(&spec)
			}
			w.deployed(spec)
		}
	}
	stopFirst := func(spec *fleet.Spec) { spec.Update.Order = fleet.StopFirst }
	hostPort := func(spec *fleet.Spec) { spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}} }
	direct := func(spec *fleet.Spec) { spec.Direct, spec.Replicas = true, 1 }
	for name, c := range map[string]cutOff{
		"a first deploy":    {func(*world) {}, deploy(nil), false, 5, 2},
		"a rolling update":  {deployed(nil), deploy(nil), false, 5, 2},
		"stop-first":        {deployed(stopFirst), deploy(func(_ *world, s *fleet.Spec) { stopFirst(s) }), false, 7, 0},
		"in place":          {deployed(hostPort), deploy(func(_ *world, s *fleet.Spec) { hostPort(s) }), false, 7, 0},
		"a direct instance": {deployed(direct), deploy(func(_ *world, s *fleet.Spec) { direct(s) }), false, 6, 0},
		"a failing update": {deployed(nil), deploy(func(w *world, _ *fleet.Spec) {
			w.behaveAs("web-1.r2", behaviour{exits: true, exitCode: 1})
			w.behaveAs("web-1.r2.2", behaviour{exits: true, exitCode: 1})
		}), false, 7, 0},
		"an update of a sleeper":                {func(w *world) { w.asleep(w.spec("web", "app:1", 2)) }, deploy(nil), true, 7, 0},
		"scaling up":                            {deployed(nil), func(w *world) (fleet.Accepted, error) { return w.engine().Scale(w.ctx, "web", 3, "tester") }, false, 6, 1},
		"scaling up by several, side by side":   {deployed(nil), func(w *world) (fleet.Accepted, error) { return w.engine().Scale(w.ctx, "web", 5, "tester") }, false, 8, 3},
		"scaling down by several, side by side": {deployed(func(s *fleet.Spec) { s.Replicas = 5 }), func(w *world) (fleet.Accepted, error) { return w.engine().Scale(w.ctx, "web", 1, "tester") }, false, 8, 0},
		"scaling down":                          {deployed(nil), func(w *world) (fleet.Accepted, error) { return w.engine().Scale(w.ctx, "web", 1, "tester") }, false, 6, 0},
		"a restart":                             {deployed(nil), func(w *world) (fleet.Accepted, error) { return w.engine().Restart(w.ctx, "web", "tester") }, false, 6, 2},
		"a rollback": {func(w *world) {
			w.deployed(w.spec("web", "app:2", 2))
			w.deployed(w.spec("web", "app:1", 2))
		}, func(w *world) (fleet.Accepted, error) { return w.engine().Rollback(w.ctx, "web", 0, "tester") }, false, 6, 2},
		"a remove": {deployed(nil), func(w *world) (fleet.Accepted, error) { return w.engine().Remove(w.ctx, "web", "tester") }, false, 6, 0},
		"a sleep":  {deployed(nil), func(w *world) (fleet.Accepted, error) { return w.engine().Sleep(w.ctx, "web", "tester") }, false, 6, 0},
	} {
		t.Run(name, func(t *testing.T) {
			stride := c.step
			if *everyStep {
				stride = 1
			}
			for at := 1; ; at += stride {
				cut := false
				t.Run(fmt.Sprint(at), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { cut = c.cutOffAt(newWorld(t), at) })
				})
				if !cut || t.Failed() {
					return
				}
			}
		})
	}
}

// cutOffAt says whether the process was killed before the job had ended.
func (c cutOff) cutOffAt(w *world, at int) (cut bool) {
	w.start()
	defer w.end()
	c.prepare(w)
	apps, starts := w.docker.counts()
	p := w.process
	p.mu.Lock()
	p.limit = p.calls + at
	p.mu.Unlock()
	ended := make(chan struct{})
	taken := false
	go func() {
		defer close(ended)
		if accepted, err := c.ask(w); err == nil {
			taken = true
			p.engine.WaitJob(w.ctx, accepted.JobID)
		}
	}()
	select {
	case <-p.died:
	case <-ended:
	case <-time.After(patience):
		w.t.Fatal("the job neither ends nor is it cut off")
	}
	cut = p.alive(false) != nil
	w.kill()
	<-ended
	w.checkSettled(c.asleep)
	w.restart()
	w.checkSettled(c.asleep)
	appsAfter, startsAfter := w.docker.counts()
	if made, began := appsAfter-apps, startsAfter-starts; c.makes != 0 && taken && (made != c.makes || began != c.makes) {
		jobs, _ := w.engine().Jobs(w.ctx, "web", 1)
		w.t.Errorf("%d apps were made and %d started, and %d had to be\n%s\n%s\n%s", made, began, c.makes, jobs[0].Error, describeSteps(jobs[0]), strings.Join(w.docker.calls, "\n"))
	}
	return cut
}

// checkSettled fails unless every job ends and each service has exactly the
// replicas that are wanted, of one revision, within 30 s.
func (w *world) checkSettled(asleep bool) {
	w.t.Helper()
	w.until("every job has ended", func() bool {
		unfinished, err := w.store.Jobs().List(w.ctx, "", true, 0)
		return err == nil && len(unfinished) == 0
	})
	time.Sleep(30 * time.Second)
	stored, err := w.store.Services().Load(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(stored) == 0 {
		if left := w.containers(); len(left) != 0 {
			w.t.Errorf("no service is stored, and left are %v", left)
		}
		return
	}
	for _, desired := range stored {
		sleeps := asleep && len(w.revisions(desired.Name)) == 0 // what ran on trial is not stopped without evidence
		if sleeps || !asleep && desired.Power == fleet.PowerAsleep {
			w.checkAsleep(desired)
			continue
		}
		if desired.Revision == 0 {
			w.t.Errorf("nothing is in service: %s", w.status(desired.Name))
			continue
		}
		if why := w.unsettled(desired.Name, desired.Revision, desired.Replicas); why != "" {
			w.t.Errorf("%+v: %s\n%s", desired, why, w.picture())
		}
	}
}

func (w *world) checkAsleep(desired fleet.Desired) {
	w.t.Helper()
	if running := w.revisions(desired.Name); len(running) != 0 {
		w.t.Errorf("asleep, and %v run\n%s", running, w.picture())
	}
	if left := w.containers(); len(left) != 2*desired.Replicas {
		w.t.Errorf("%d replicas are wanted, there are %v\n%s", desired.Replicas, left, w.picture())
	}
}
