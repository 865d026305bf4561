package engine

import (
	"testing"

	"edgespawner/fleet"
)

func TestAFirstDeployEndsAwakeAndPublished(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		if status := w.status("web"); status != fleet.StatusRunning {
			t.Errorf("status %s", status)
		}
		if n := len(w.endpoints("web")); n != 3 {
			t.Errorf("%d endpoints\n%s", n, w.picture())
		}
	})
}
