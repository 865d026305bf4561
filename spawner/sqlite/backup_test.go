package sqlite

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"edgespawner/fleet"
)

// holds says whether a file contains a text.
func holds(t *testing.T, path, text string) bool {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return bytes.Contains(content, []byte(text))
}

func TestABackupTakenWhileOthersWriteIsWhole(t *testing.T) {
	store := openNew(t)
	deploy(t, store, fullSpec("api"), "first")
	stop, begun := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				if err := deployOnce(t.Context(), store, "api", fmt.Sprint("j", i)); err != nil {
					t.Error(err)
				}
			}
			if i == 3 {
				close(begun)
			}
		}
	})
	<-begun
	path := filepath.Join(t.TempDir(), "backup.db")
	must(t, Backup(t.Context(), store.path, path))
	close(stop)
	group.Wait()
	must(t, store.Close())

	target := filepath.Join(t.TempDir(), "new", "spawner.db")
	must(t, Restore(t.Context(), path, target))
	revisions, err := openAt(t, target).Services().Revisions(t.Context(), "api")
	must(t, err)
	if len(revisions) < 4 || revisions[len(revisions)-1].Spec.Env["KEY"].Reveal() != "v\x00al\"ü'e" {
		t.Errorf("the backup holds %d revisions", len(revisions))
	}
}

func TestABackupAndARestoreAreEvents(t *testing.T) {
	store := openNew(t)
	fillEvents(t, store, 3)
	backup := filepath.Join(t.TempDir(), "monday.db")
	must(t, Backup(t.Context(), store.path, backup))
	said := func(store *Store) (messages []string) {
		events, err := store.Events().List(t.Context(), fleet.EventFilter{Types: []fleet.EventType{fleet.EventBackup}})
		must(t, err)
		for _, event := range events {
			messages = append(messages, fmt.Sprint(event.ID, " ", event.Message))
		}
		return messages
	}
	diff(t, said(store), []string{"4 The database was saved to monday.db"})
	path := store.path
	must(t, store.Close())
	must(t, Restore(t.Context(), backup, path))
	diff(t, said(openAt(t, path)), []string{"4 The database was restored from monday.db"})
}

func TestABackupNeverOverwrites(t *testing.T) {
	store := openNew(t)
	path := filepath.Join(t.TempDir(), "precious")
	must(t, os.WriteFile(path, []byte("precious"), 0o600))
	wantKind(t, Backup(t.Context(), store.path, path), fleet.Conflict)
	wantKind(t, Backup(t.Context(), store.path, store.path), fleet.Conflict)
	if !holds(t, path, "precious") {
		t.Error("it was overwritten")
	}
	if err := Backup(t.Context(), store.path, filepath.Join(t.TempDir(), "missing", "b.db")); err == nil {
		t.Error("a backup into a directory that is not there succeeded")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	must(t, err)
	if len(left) != 0 {
		t.Errorf("a refused backup left %v", left)
	}
}

func TestABackupOfNoDatabaseIsNotFoundAndMakesNone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	must(t, os.Mkdir(folder, 0o700))
	target := filepath.Join(t.TempDir(), "backup.db")
	wantKind(t, Backup(t.Context(), filepath.Join(folder, "spawner.db"), target), fleet.NotFound)
	for _, place := range []string{folder, filepath.Dir(target)} {
		left, err := os.ReadDir(place)
		must(t, err)
		if len(left) != 0 {
			t.Errorf("it left %v", left)
		}
	}
}

// setting opens the database and returns a setting.
func setting(t *testing.T, path, key string) string {
	t.Helper()
	store := openAt(t, path)
	value, _, err := store.Settings().Get(t.Context(), key)
	must(t, err)
	must(t, store.Close())
	return value
}

func TestARestoreReplacesTheDatabaseAndKeepsTheOneBefore(t *testing.T) {
	store := openNew(t)
	must(t, store.Settings().Set(t.Context(), "state", "old"))
	backup := filepath.Join(t.TempDir(), "backup.db")
	must(t, Backup(t.Context(), store.path, backup))
	must(t, store.Settings().Set(t.Context(), "state", "new"))
	wantKind(t, Restore(t.Context(), backup, store.path), fleet.Conflict) // in use
	must(t, store.Close())
	must(t, Restore(t.Context(), backup, store.path))
	if got := setting(t, store.path, "state"); got != "old" {
		t.Errorf("restored %q, want old", got)
	}
	kept, err := filepath.Glob(store.path + ".before-restore-*Z")
	must(t, err)
	if len(kept) != 1 || setting(t, kept[0], "state") != "new" {
		t.Errorf("kept %v", kept)
	}
	if _, err := os.Stat(backup); err != nil {
		t.Errorf("the backup itself: %v", err)
	}
}

func TestARestoreIgnoresTheWALThatAKilledSpawnerLeft(t *testing.T) {
	store := openNew(t)
	must(t, store.Settings().Set(t.Context(), "state", "old"))
	backup := filepath.Join(t.TempDir(), "backup.db")
	must(t, Backup(t.Context(), store.path, backup))
	must(t, store.Settings().Set(t.Context(), "state", "new"))
	// What a kill -9 leaves: the database and a WAL that is not folded in.
	killed := filepath.Join(t.TempDir(), "spawner.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(store.path + suffix)
		must(t, err)
		must(t, os.WriteFile(killed+suffix, content, 0o600))
	}
	must(t, Restore(t.Context(), backup, killed))
	if got := setting(t, killed, "state"); got != "old" {
		t.Errorf("restored %q, want old", got)
	}
	kept, err := filepath.Glob(killed + ".before-restore-*Z")
	must(t, err)
	if len(kept) != 1 || setting(t, kept[0], "state") != "new" {
		t.Errorf("kept %v", kept)
	}
}

func TestARestoreMendsADamagedDatabase(t *testing.T) {
	store := openNew(t)
	must(t, store.Settings().Set(t.Context(), "state", "good"))
	backup := filepath.Join(t.TempDir(), "backup.db")
	must(t, Backup(t.Context(), store.path, backup))
	damaged := filepath.Join(t.TempDir(), "spawner.db")
	must(t, os.WriteFile(damaged, []byte("rubbish"), 0o600))
	must(t, os.WriteFile(damaged+"-wal", []byte("rubbish"), 0o600))
	must(t, Restore(t.Context(), backup, damaged))
	if got := setting(t, damaged, "state"); got != "good" {
		t.Errorf("restored %q", got)
	}
}

func TestAnUnusableBackupIsRefusedAndNothingChanged(t *testing.T) {
	store := openNew(t)
	for i := range 200 {
		must(t, store.Settings().Set(t.Context(), fmt.Sprint("key", i), strings.Repeat("x", 500)))
	}
	must(t, store.Settings().Set(t.Context(), "state", "kept"))
	directory := t.TempDir()
	good := filepath.Join(directory, "good.db")
	must(t, Backup(t.Context(), store.path, good))
	must(t, store.Close())
	content, err := os.ReadFile(good)
	must(t, err)
	torn := bytes.Clone(content)
	copy(torn[len(torn)/2:], bytes.Repeat([]byte{0xff}, 8192))
	newer := filepath.Join(directory, "newer.db")
	later, err := open(t.Context(), newer, quiet, later("CREATE TABLE more (x TEXT)"))
	must(t, err)
	must(t, later.Close())
	for name, content := range map[string][]byte{
		"rubbish": []byte("rubbish, but a lot of it"), "empty": {}, "torn": torn, "cut off": content[:len(content)/2],
	} {
		path := filepath.Join(directory, name)
		must(t, os.WriteFile(path, content, 0o600))
		t.Run(name, func(t *testing.T) { wantKind(t, Restore(t.Context(), path, store.path), fleet.Invalid) })
	}
	wantKind(t, Restore(t.Context(), newer, store.path), fleet.Invalid)
	wantKind(t, Restore(t.Context(), store.path, store.path), fleet.Invalid)
	wantKind(t, Restore(t.Context(), filepath.Join(directory, "none"), store.path), fleet.NotFound)
	if got := setting(t, store.path, "state"); got != "kept" {
		t.Errorf("the database now says %q", got)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(store.path), ".*"))
	must(t, err)
	kept, err := filepath.Glob(store.path + ".before*")
	must(t, err)
	if len(left)+len(kept) != 0 {
		t.Errorf("refused restores left %v %v", left, kept)
	}
}
