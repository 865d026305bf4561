package engine

import (
	"fmt"
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
				thief, err := w.docker.create(fleet.ContainerConfig{Name: "thief", Image: "app:1", Ports: spec.Ports})
				if err == nil {
					err = w.docker.start(w.ctx, thief)
				}
				if err != nil {
					t.Fatal(err)
				}
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
