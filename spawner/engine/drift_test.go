package engine

import (
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// changeByHand changes what a container was made from, as docker update does, or
// as somebody who removes it and makes it anew under its name and labels.
func (w *world) changeByHand(name string, tell bool, change func(*fleet.ContainerConfig)) {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	b := w.docker.named(name)
	change(&b.config)
	if tell {
		w.docker.tell(b, fleet.Notice{Action: fleet.NoticeUpdated})
	}
}

func (w *world) driftOf(replica int) []string {
	w.t.Helper()
	service, err := w.engine().Service("web")
	if err != nil {
		w.t.Fatal(err)
	}
	return service.Detail[replica].Drift
}

func TestAChangedContainerIsReportedAndLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 2)
		spec.Resources.MemoryMB = 64
		w.deployed(spec)
		w.withoutCalls(func() {
			w.changeByHand("web-1", true, func(c *fleet.ContainerConfig) { c.MemoryMB = 128 })
			w.until("it is seen", func() bool { return len(w.driftOf(1)) == 1 })
			time.Sleep(5 * time.Minute)
		})
		if events := w.events("web", fleet.EventDrift); len(events) != 1 || !strings.Contains(events[0], "web-1 is not what was deployed: its memory is limited to 128 MiB, not 64") {
			t.Errorf("events %q", events)
		}
		if why, err := w.engine().Why("web"); err != nil || !strings.Contains(strings.Join(why.Reasons, "\n"), "web-1 is not what was deployed") {
			t.Errorf("%+v, %v", why, err)
		}
		w.changeByHand("web-1", true, func(c *fleet.ContainerConfig) { c.MemoryMB = 64 })
		w.until("it is undone", func() bool { return len(w.driftOf(1)) == 0 })
		if events := w.events("web", fleet.EventDrift); len(events) != 2 {
			t.Errorf("events %q", events)
		}
	})
}

func TestAContainerThatWasMadeAnewByHandWhileTheSpawnerWasAwayIsDrift(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 2)
		spec.Env = map[string]fleet.Secret{"KEY": "hunter2", "OTHER": "same"}
		w.deployed(spec)
		w.stop()
		w.changeByHand("web-0", false, func(c *fleet.ContainerConfig) {
			c.Image = "app:2"
			c.Env = map[string]fleet.Secret{"KEY": "hunter3"}
		})
		w.withoutCalls(func() {
			w.start()
			time.Sleep(time.Minute)
		})
		events := strings.Join(w.events("web", fleet.EventDrift), "\n")
		for _, wanted := range []string{"its image is app-2, not app-1", "its env has another value of KEY", "its env has no OTHER"} {
			if !strings.Contains(events, wanted) {
				t.Errorf("%q is missing in %q", wanted, events)
			}
		}
		if strings.Contains(events, "hunter") || strings.Contains(events, "web-1") {
			t.Errorf("events %q", events)
		}
		w.succeeded(w.engine().Restart(w.ctx, "web", "tester"))
		w.settledOn("web", 1, 2)
		if drift := w.driftOf(0); len(drift) != 0 {
			t.Errorf("after a restart: %q", drift)
		}
	})
}

func TestALimitOfCPUsThatIsSetByHandIsDrift(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		limit := func(milliCPUs int) {
			w.life("web-0", func(b *box) { b.milliCPUs = milliCPUs })
			w.changeByHand("web-0", true, func(*fleet.ContainerConfig) {})
		}
		limit(1500)
		w.until("it is seen", func() bool { return len(w.driftOf(0)) == 1 })
		if drift := w.driftOf(0)[0]; drift != "it is limited to 1.5 CPUs, and was not" {
			t.Errorf("got %q", drift)
		}
		limit(0)
		w.until("it is undone", func() bool { return len(w.driftOf(0)) == 0 })
	})
}

func TestDriftIsLookedForWhenAnEngineIsBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.docker.breakStreams()
		w.changeByHand("web-0", true, func(c *fleet.ContainerConfig) { c.CPUShares = 512 })
		w.until("it is seen", func() bool { return len(w.driftOf(0)) == 1 })
	})
}

func TestAReplicaWhoseSandboxWasTakenOffItsNetworkIsMadeAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.crash("web-0", 1) // so that the next restart is not at once
		w.until("it is restarted", func() bool { return w.startsOfReplica("web-0") == 2 })
		w.settledOn("web", 1, 2)
		stop := w.traffic("web", 20*time.Millisecond, 200*time.Millisecond)
		w.changeByHand("web-0.net", false, func(c *fleet.ContainerConfig) { c.Networks = nil })
		began := time.Now()
		w.until("it leaves the edges", func() bool { return len(w.endpoints("web")) == 1 })
		w.settledOn("web", 1, 2)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("made anew after %s", took)
		}
		stop()
		if events := w.events("web", fleet.EventDrift); len(events) != 1 || !strings.Contains(events[0], "taken off its network") {
			t.Errorf("events %q", events)
		}
	})
}
