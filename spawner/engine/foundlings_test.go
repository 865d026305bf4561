package engine

import (
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestAContainerThatAnEngineMadeForADeadProcessIsRemoved(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.kill()
		late, err := w.docker.create(fleet.ContainerConfig{Name: "web-0.r2.net", Image: w.config.SandboxImage, Labels: map[string]string{
			fleet.LabelRole: string(fleet.RoleSandbox), fleet.LabelService: "web", fleet.LabelIndex: "0", fleet.LabelRevision: "2",
		}})
		if err != nil {
			t.Fatal(err)
		}
		w.until("it is removed", func() bool {
			_, err := w.docker.inspect(w.ctx, late)
			return fleet.KindOf(err) == fleet.NotFound && err != nil
		})
		if n := len(w.containers()); n != 2 {
			t.Errorf("%d containers are left, want those of one replica:\n%s", n, w.picture())
		}
	})
}

func TestAnUnknownContainerIsGivenTimeBeforeItCounts(t *testing.T) {
	f := foundlings{since: map[string]map[string]time.Time{}}
	now := time.Now()
	one, two := fleet.Container{ID: "1"}, fleet.Container{ID: "2"}
	for _, look := range []struct {
		after   time.Duration
		node    string
		unknown []fleet.Container
		old     int
	}{
		{0, "a", []fleet.Container{one}, 0},
		{foundlingPause - 1, "a", []fleet.Container{one, two}, 0},
		{foundlingPause, "b", []fleet.Container{one}, 0},
		{foundlingPause, "a", []fleet.Container{one, two}, 1},
		{foundlingPause, "a", nil, 0},
		{2 * foundlingPause, "a", []fleet.Container{one, two}, 0}, // both gone in between
	} {
		old, again := f.look(look.node, look.unknown, now.Add(look.after))
		if len(old) != look.old || again != (len(look.unknown) > 0) {
			t.Errorf("after %s on node %s: %d are old, again %v", look.after, look.node, len(old), again)
		}
	}
}
