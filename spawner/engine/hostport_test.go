package engine

import (
	"fmt"
	"strings"
	"testing"

	"edgespawner/fleet"
)

// portsOf are the host ports that the service's sandbox holds.
func (w *world) portsOf(service string) string {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	for _, b := range w.docker.boxes {
		if b.joined == nil && b.config.Labels[fleet.LabelService] == service && b.status == fleet.ContainerRunning {
			return fmt.Sprint(b.config.Ports)
		}
	}
	return "no sandbox"
}

// stranger starts a container that is none of the fleet's and holds the ports.
func (w *world) stranger(on *fakeDocker, ports []fleet.Port) (id string) {
	w.t.Helper()
	id, err := on.create(fleet.ContainerConfig{Name: "stranger", Image: "app:1", Ports: ports})
	if err == nil {
		err = on.start(w.ctx, id)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func TestAHostPortThatAStrangerHoldsIsSoughtOnAnotherNode(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
		spec.Placement.Prefer = []fleet.Constraint{"node==a"}
		strangers := map[string]string{"a": w.stranger(w.on("a"), spec.Ports)}
		w.deployed(spec)
		if w.spread("web")["b"] != 1 {
			w.t.Fatalf("it is on %v, want b, where the port is free", w.spread("web"))
		}
		w.succeeded(w.engine().Remove(w.ctx, "web", "tester"))
		strangers["b"] = w.stranger(w.on("b"), spec.Ports)
		job := w.done(w.engine().Deploy(w.ctx, spec, "tester", false))
		const want = "2 nodes: host port 80 is held by container stranger"
		if job.State != fleet.JobFailed || !strings.Contains(job.Error, want) || job.Steps[len(job.Steps)-1].Verb != "place" {
			w.t.Errorf("the deploy %s: %q, want it to fail at place: %s", job.State, job.Error, want)
		}
		if err := w.on("a").remove(w.ctx, strangers["a"]); err != nil {
			w.t.Fatal(err)
		}
		w.deployed(spec)
		// What is placed without asking does not believe it for long.
		w.on("a").silence(true)
		if err := w.on("b").remove(w.ctx, strangers["b"]); err != nil {
			w.t.Fatal(err)
		}
		w.until("it is placed elsewhere", func() bool { return w.spread("web")["b"] == 1 })
	})
}

func TestThatAnotherFleetIsOnANodeIsSaidOnce(t *testing.T) {
	synctestWorld(t, func(*world) {}, func(w *world) {
		id, err := w.docker.create(fleet.ContainerConfig{Name: "theirs", Image: "app:1", Labels: map[string]string{fleet.LabelFleet: "other-1", fleet.LabelService: "web"}})
		if err == nil {
			err = w.docker.start(w.ctx, id)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		spec := w.spec("web", "app:1", 1)
		spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}} // the nodes are asked what they have
		w.deployed(spec)
		spec.Env = map[string]fleet.Secret{"A": "1"}
		w.deployed(spec)
		const want = "[Fleet other-1 has containers on node local too: they are left alone, and what they use is not counted in the node's reservations]"
		if told := fmt.Sprint(w.events("", fleet.EventWarning)); told != want {
			w.t.Errorf("it is told as %s", told)
		}
	})
}

func TestADeepSleeperWhosePortIsTakenWakesWithoutItAndHasItAgainLater(t *testing.T) {
	for _, routed := range []bool{true, false} {
		t.Run(fmt.Sprint("routed ", routed), func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 1)
				spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
				spec.Sleep.Mode = fleet.SleepDeep
				if !routed {
					spec.Route = nil
				}
				w.deployed(spec)
				published := w.portsOf("web")
				w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
				thief := w.stranger(w.docker, spec.Ports)
				job := w.done(w.engine().Wake(w.ctx, "web", "tester"))
				if !routed {
					if job.State != fleet.JobFailed {
						t.Errorf("the wake %s: %s", job.State, job.Error)
					}
					return
				}
				if job.State != fleet.JobSucceeded || w.portsOf("web") != "[]" || len(w.endpoints("web")) != 1 {
					t.Fatalf("the wake %s (%s) with ports %s\n%s", job.State, job.Error, w.portsOf("web"), w.picture())
				}
				if err := w.docker.remove(w.ctx, thief); err != nil {
					t.Fatal(err)
				}
				w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
				w.succeeded(w.engine().Wake(w.ctx, "web", "tester"))
				if now := w.portsOf("web"); now != published {
					t.Errorf("ports %s, before %s", now, published)
				}
				w.settledOn("web", 1, 1)
			})
		})
	}
}

func TestAReplacedReplicaTakesNothingFromTheSandboxThatTookThePlaceOfTheirs(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
		w.deployed(spec)
		shared := w.docker.named("web-0.net")
		w.docker.fault = func(verb, name string) error {
			if verb == "start" && name == "web-0.r2" { // somebody removes it as the new app is to start in it
				w.docker.endLocked(shared, shared.life, 137)
				delete(w.docker.boxes, shared.id)
			}
			return nil
		}
		spec.Image = "app:2"
		w.deployed(spec)
		w.settledOn("web", 2, 1)
		published := w.portsOf("web")
		if published == "[]" {
			t.Error("web holds no host ports any more")
		}
		held, err := w.store.Addresses().Holders(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(held) != 1 || held[0].Address != addressOf(w.endpoints("web")[0]) {
			t.Errorf("held: %+v, served at %v", held, w.endpoints("web"))
		}
		w.deployed(w.spec("other", "app:3", 1)) // in no address of web's
		w.untilServing("web", 1)
		w.untilServing("other", 1)
	})
}
