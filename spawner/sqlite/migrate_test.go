package sqlite

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"edgespawner/fleet"
)

// later returns the migrations of this binary and one more.
func later(sql string) []migration {
	return append(embedded(), migration{name: "more", sql: sql})
}

// rebuild is a migration of the hard kind: it rebuilds a table that others refer to.
const rebuild = `
CREATE TABLE fresh (name TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL, replicas INTEGER NOT NULL, power TEXT NOT NULL,
  removing INTEGER NOT NULL, created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, note TEXT NOT NULL) STRICT;
INSERT INTO fresh SELECT *, 'moved' FROM services;
DROP TABLE services;
ALTER TABLE fresh RENAME TO services;`

// makeVersion1 makes a database from the dump that the first version wrote.
func makeVersion1(t *testing.T) (path string) {
	t.Helper()
	dump, err := os.ReadFile("testdata/version-1.sql")
	must(t, err)
	path = filepath.Join(t.TempDir(), "spawner.db")
	db, err := sql.Open("sqlite3", path)
	must(t, err)
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), string(dump)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestADatabaseOfVersion1OpensWithAllThatItHeld(t *testing.T) {
	store := openAt(t, makeVersion1(t))
	revisions, err := store.Services().Revisions(t.Context(), "api")
	must(t, err)
	if len(revisions) != 2 || revisions[1].Spec.Env["KEY"].Reveal() != "value" || revisions[1].Spec.Image != "myapp:latest" {
		t.Errorf("got %+v", revisions)
	}
	services, err := store.Services().Load(t.Context())
	must(t, err)
	leases, err := store.Addresses().Holders(t.Context())
	must(t, err)
	nodes, err := store.Nodes().List(t.Context())
	must(t, err)
	tokens, err := store.Tokens().List(t.Context())
	must(t, err)
	got := fmt.Sprintf("%d services, jobs %s, events %s, %d leases, %d nodes, %d tokens", len(services),
		jobIDs(t, store, "", false, 0), eventIDs(t, store, fleet.EventFilter{}), len(leases), len(nodes), len(tokens))
	if want := "1 services, jobs j2 j1 , events 1 2 , 1 leases, 1 nodes, 1 tokens"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnUpgradeCopiesTheDatabaseAndKeepsWhatRefersToARebuiltTable(t *testing.T) {
	path := makeVersion1(t)
	before := openAt(t, path)
	must(t, before.Close())
	store, err := open(t.Context(), path, quiet, later(rebuild))
	must(t, err)
	defer store.Close()
	var note string
	must(t, store.reader.QueryRowContext(t.Context(), "SELECT note FROM services WHERE name = 'api'").Scan(&note))
	if _, err := store.Services().Revision(t.Context(), "api", 1); err != nil || note != "moved" {
		t.Errorf("after the upgrade: note %q, %v", note, err)
	}
	wantKind(t, store.Services().Delete(t.Context(), "none"), fleet.NotFound)
	must(t, store.Services().Delete(t.Context(), "api"))
	_, err = store.Services().Revision(t.Context(), "api", 1)
	wantKind(t, err, fleet.NotFound) // foreign keys are on again

	version := len(embedded())
	kept := openAt(t, fmt.Sprintf("%s.before-%d", path, version+1))
	if _, err := kept.Services().Revision(t.Context(), "api", 1); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(kept.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info.Mode(), err)
	}
}

func TestAnOpenWithoutAnUpgradeCopiesNothing(t *testing.T) {
	store := reopen(t, openNew(t))
	copies, err := filepath.Glob(store.path + ".before*")
	must(t, err)
	if len(copies) != 0 {
		t.Errorf("found %v", copies)
	}
}

func TestAFailedUpgradeLeavesTheDatabaseAsItWas(t *testing.T) {
	for name, sql := range map[string]string{
		"broken statement":    "CREATE TABLE half (x TEXT); DELETE FROM events; SELECT nonsense",
		"dangling references": "DELETE FROM services",
	} {
		t.Run(name, func(t *testing.T) {
			path := makeVersion1(t)
			must(t, openAt(t, path).Close())
			if _, err := open(t.Context(), path, quiet, later(sql)); err == nil || !strings.Contains(err.Error(), "cannot upgrade") {
				t.Fatalf("got %v", err)
			}
			store := openAt(t, path)
			if got := eventIDs(t, store, fleet.EventFilter{}); got != "1 2 " {
				t.Errorf("events are %q", got)
			}
			if _, err := store.Services().Revision(t.Context(), "api", 1); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnOlderBinaryRefusesANewerDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spawner.db")
	newer, err := open(t.Context(), path, quiet, later("CREATE TABLE more (x TEXT)"))
	must(t, err)
	must(t, newer.Close())
	_, err = Open(t.Context(), path, quiet)
	wantKind(t, err, fleet.Conflict)
	version := len(embedded())
	want := fmt.Sprintf("was written by a newer spawner (schema %d, this binary knows up to %d)", version+1, version)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
}

func TestTheDatabaseOfAnotherProgramIsRefusedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite3", path)
	must(t, err)
	_, err = db.ExecContext(t.Context(), "CREATE TABLE services (x TEXT)")
	must(t, err)
	must(t, db.Close())
	before, err := os.ReadFile(path)
	must(t, err)
	_, err = Open(t.Context(), path, quiet)
	wantKind(t, err, fleet.Conflict)
	after, err := os.ReadFile(path)
	must(t, err)
	if string(before) != string(after) {
		t.Error("the file was changed")
	}
}

func TestAFileThatIsNoDatabaseIsRefusedWithAdvice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spawner.db")
	must(t, os.WriteFile(path, []byte(strings.Repeat("not a database ", 100)), 0o600))
	_, err := Open(t.Context(), path, quiet)
	if err == nil || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("got %v", err)
	}
}

func TestMigrationsAreNumberedWithoutAGap(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a gap was accepted")
		}
	}()
	read(fstest.MapFS{"migrations/0001_a.sql": {}, "migrations/0003_b.sql": {}})
}
