package engine

import (
	"strings"
	"testing"

	"edgespawner/fleet"
)

func TestWhatEndedWhileTheSpawnerWasAwayIsToldAtItsStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.asleep(w.spec("api", "app:2", 1))
		w.process.kill()
		w.stop()
		w.crash("web-0", 9)
		w.removeByHand("web-1")
		w.removeByHand("web-1.net")
		w.start()
		w.settledOn("web", 1, 2)
		if told := strings.Join(w.events("web", fleet.EventExit), "\n"); !strings.Contains(told, "web-0 exited with code 9") || !strings.Contains(told, "while the spawner was away; it is started again") {
			t.Errorf("exits: %q", told)
		}
		if told := strings.Join(w.events("web", fleet.EventRestart), "\n"); !strings.Contains(told, "web-1 was gone when the spawner began; it is made anew") {
			t.Errorf("restarts: %q", told)
		}
		if told := w.events("api", fleet.EventExit); len(told) > 0 {
			t.Errorf("of a sleeper: %q", told)
		}
	})
}

func TestARestartPolicyOfTheEnginesOwnIsDrift(t *testing.T) {
	print := &blueprint{spec: &fleet.Spec{}, hash: "h"}
	app := fleet.Container{Labels: map[string]string{fleet.LabelSpecHash: "h"}, RestartPolicy: "no"}
	if found := differences(print, app); len(found) > 0 {
		t.Errorf("as it was made: %q", found)
	}
	app.RestartPolicy = "always"
	if found := differences(print, app); len(found) != 1 || !strings.Contains(found[0], "restart policy is always") {
		t.Errorf("changed: %q", found)
	}
}
