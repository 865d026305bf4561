package engine

import (
	"path/filepath"
	"testing"

	"edgespawner/fleet"
	"edgespawner/spawner/sqlite"
)

// startOn ends the engine and begins another one on that database.
func (w *world) startOn(database string) {
	w.t.Helper()
	w.stop()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.openStore(database)
	w.start()
}

func TestAnOlderStateThatIsRestoredIsBroughtBack(t *testing.T) {
	inWorld(t, func(w *world) {
		database, backup := filepath.Join(t.TempDir(), "spawner.db"), filepath.Join(t.TempDir(), "backup.db")
		w.startOn(database)
		w.deployed(w.spec("web", "app:1", 2))
		if err := sqlite.Backup(w.ctx, database, backup); err != nil {
			t.Fatal(err)
		}
		w.deployed(w.spec("web", "app:2", 3))
		w.startOn(backup)
		w.settledOn("web", 1, 2)
		w.untilStatus("web", fleet.StatusRunning)
		w.deployed(w.spec("web", "app:2", 1)) // under a number that was in use before
		w.settledOn("web", 2, 1)
	})
}
