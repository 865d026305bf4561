package engine

import (
	"testing"
	"time"

	"edgespawner/fleet"
)

// unpauseByHand lets an app go on behind the engine's back.
func (w *world) unpauseByHand(name string) {
	w.docker.mu.Lock()
	b := w.docker.named(name)
	w.docker.mu.Unlock()
	if err := w.docker.unpause(b.id); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) dozing(replicas int) {
	w.t.Helper()
	spec := w.spec("web", "app:1", replicas)
	spec.Sleep.Mode = fleet.SleepPause
	w.deployed(spec)
	w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
}

func TestAnAppThatSomebodyLetsGoOnIsAwake(t *testing.T) {
	inWorld(t, func(w *world) {
		w.dozing(2)
		w.unpauseByHand("web-1")
		w.untilStatus("web", fleet.StatusRunning)
		w.settledOn("web", 1, 2)
	})
}

func TestADozingReplicaWhoseSandboxWasTakenOffItsNetworkIsMadeAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		w.dozing(1)
		w.changeByHand("web-0.net", false, func(c *fleet.ContainerConfig) { c.Networks = nil })
		w.restart() // which knows no address of it
		began := time.Now()
		if _, err := w.request("web", 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("answered after %s", took)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestAFirstReplicaThatHangsKeepsNobodyFromTheOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
		w.behaveAs("web-0", behaviour{never: true})
		began := time.Now()
		if _, err := w.request("web", 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*restPatience {
			t.Errorf("answered after %s", took)
		}
	})
}

func TestAServiceIsChangedFromTheRevisionInServiceAlsoAfterARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.succeeded(w.engine().Scale(w.ctx, "web", 2, "tester"))
		bad := w.spec("web", "app:2", 1)
		w.behave("app:2", behaviour{exits: true, exitCode: 3})
		if job := w.deploy(bad); job.State != fleet.JobFailed {
			t.Fatalf("the deploy %s", job.State)
		}
		for _, when := range []string{"at once", "after a restart"} {
			spec, err := w.engine().Spec(w.ctx, "web")
			if err != nil || spec.Image != "app:1" || spec.Replicas != 2 {
				t.Errorf("%s: %d of %s, %v", when, spec.Replicas, spec.Image, err)
			}
			w.restart()
		}
	})
}
