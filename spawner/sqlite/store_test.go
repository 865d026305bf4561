package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

var quiet = slog.New(slog.DiscardHandler)

// openNew opens a new database in a directory of its own.
func openNew(t *testing.T) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "spawner.db"))
}

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	store, err := Open(t.Context(), path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // some tests close it themselves
	return store
}

// reopen closes the store and opens the same file again.
func reopen(t *testing.T, store *Store) *Store {
	t.Helper()
	must(t, store.Close())
	return openAt(t, store.path)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, want fleet.Kind) {
	t.Helper()
	if err == nil || fleet.KindOf(err) != want {
		t.Errorf("got error %v of kind %v, want kind %v", err, fleet.KindOf(err), want)
	}
}

func diff(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestTheDatabaseAndItsCompanionsAreReadableByTheirOwnerOnly(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(directory, "spawner.db")
	store := openAt(t, path)
	must(t, store.Settings().Set(t.Context(), "key", "value"))
	must(t, Backup(t.Context(), store.path, path+".backup"))
	for _, suffix := range []string{"", "-wal", "-shm", ".lock", ".backup"} {
		info, err := os.Stat(path + suffix)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", info.Name(), info.Mode())
		}
	}
	info, err := os.Stat(directory)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, want 0700", info.Mode())
	}
}

func TestAnOpenTakesTheRightsOfOthersOffADatabase(t *testing.T) {
	store := openNew(t)
	must(t, store.Close())
	must(t, os.Chmod(store.path, 0o644))
	openAt(t, store.path)
	info, err := os.Stat(store.path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, want 0600", info.Mode())
	}
}

func TestAPathMayHoldCharactersThatMeanSomethingInAnAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%41&é.db")
	openAt(t, path)
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestConnectionsWriteAheadCheckForeignKeysAndReadOnlyWhereTheyShould(t *testing.T) {
	store := openNew(t)
	pragma := func(db queryer, name string) (value string) {
		must(t, db.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&value))
		return value
	}
	got := map[string]string{
		"journal": pragma(store.reader, "journal_mode"), "foreign keys": pragma(store.writer, "foreign_keys"),
		"secure delete": pragma(store.writer, "secure_delete"), "query only": pragma(store.reader, "query_only"),
		"busy": pragma(store.writer, "busy_timeout"),
	}
	diff(t, got, map[string]string{"journal": "wal", "foreign keys": "1", "secure delete": "1", "query only": "1", "busy": "10000"})
	if _, err := store.reader.ExecContext(t.Context(), "DELETE FROM events"); err == nil {
		t.Error("a reading connection wrote")
	}
}

func TestSettingsAreKeptAcrossOpens(t *testing.T) {
	store := openNew(t)
	_, set, err := store.Settings().Get(t.Context(), "fleet")
	must(t, err)
	if set {
		t.Error("a new database has a setting")
	}
	must(t, store.Settings().Set(t.Context(), "fleet", "first"))
	must(t, store.Settings().Set(t.Context(), "fleet", "second"))
	value, set, err := reopen(t, store).Settings().Get(t.Context(), "fleet")
	must(t, err)
	if value != "second" || !set {
		t.Errorf("got %q, %v", value, set)
	}
}

func TestNodesAreKeptWithoutWhatIsObserved(t *testing.T) {
	store := openNew(t)
	nodes := store.Nodes()
	must(t, nodes.Put(t.Context(), fleet.StoredNode{Node: fleet.Node{Name: "local", Endpoint: "unix:///a", State: fleet.NodeReady, CPUs: 4}}))
	far := fleet.StoredNode{
		Node: fleet.Node{Name: "far", Endpoint: "tcp://b:2376", Address: "10.0.0.2", EngineID: "E",
			Labels: map[string]string{"disk": "ssd"}, Draining: true, State: fleet.NodeUnknown},
		AllowPlainTCP: true, Joined: true, Sealed: []byte{1, 0, 2},
	}
	must(t, nodes.Put(t.Context(), far))
	must(t, nodes.Put(t.Context(), fleet.StoredNode{Node: fleet.Node{Name: "local", Endpoint: "unix:///b"}}))
	got, err := reopen(t, store).Nodes().List(t.Context())
	must(t, err)
	diff(t, got, []fleet.StoredNode{far, {Node: fleet.Node{Name: "local", Endpoint: "unix:///b", State: fleet.NodeUnknown}, Sealed: []byte{}}})
}

func TestARemovedNodeIsGoneAndAnUnknownOneIsNotFound(t *testing.T) {
	nodes := openNew(t).Nodes()
	must(t, nodes.Put(t.Context(), fleet.StoredNode{Node: fleet.Node{Name: "local"}}))
	must(t, nodes.Remove(t.Context(), "local"))
	wantKind(t, nodes.Remove(t.Context(), "local"), fleet.NotFound)
}

func TestTokensAreFoundByTheirHashOnly(t *testing.T) {
	store := openNew(t)
	tokens := store.Tokens()
	made := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := fleet.StoredToken{Token: fleet.Token{Name: "ci", Scope: fleet.ScopeDeploy, CreatedAt: made, ExpiresAt: made.Add(time.Hour)}, Hash: "h1"}
	must(t, tokens.Add(t.Context(), want))
	wantKind(t, tokens.Add(t.Context(), want), fleet.Conflict)
	must(t, tokens.Touch(t.Context(), "ci", made.Add(time.Minute)))
	must(t, tokens.Touch(t.Context(), "ci", made)) // late, and older
	want.LastUsed = made.Add(time.Minute)

	tokens = reopen(t, store).Tokens()
	got, err := tokens.FindByHash(t.Context(), "h1")
	must(t, err)
	diff(t, got, want)
	_, err = tokens.FindByHash(t.Context(), "h2")
	wantKind(t, err, fleet.NotFound)
	list, err := tokens.List(t.Context())
	must(t, err)
	diff(t, list, []fleet.StoredToken{want})

	must(t, tokens.Remove(t.Context(), "ci"))
	_, err = tokens.FindByHash(t.Context(), "h1")
	wantKind(t, err, fleet.NotFound)
	wantKind(t, tokens.Remove(t.Context(), "ci"), fleet.NotFound)
	wantKind(t, tokens.Touch(t.Context(), "ci", made), fleet.NotFound)
}

func TestManyCallersAtOnceLoseNothing(t *testing.T) {
	store := openNew(t)
	const services, rounds = 6, 15
	var group sync.WaitGroup
	for service := range services {
		group.Go(func() {
			name := fmt.Sprintf("app-%d", service/2) // two callers a service
			for round := range rounds {
				id := fmt.Sprintf("job-%d-%d", service, round)
				if err := deployOnce(t.Context(), store, name, id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for service := range services / 2 {
		revisions, err := store.Services().Revisions(t.Context(), fmt.Sprintf("app-%d", service))
		must(t, err)
		for i, revision := range revisions {
			if want := 2*rounds - i; revision.Number != want {
				t.Fatalf("app-%d: got revision %d at %d, want %d", service, revision.Number, i, want)
			}
		}
	}
	events, err := store.Events().List(t.Context(), fleet.EventFilter{Limit: 1000})
	must(t, err)
	if len(events) != services*rounds {
		t.Errorf("got %d events, want %d", len(events), services*rounds)
	}
}

// deployOnce does what a deploy does to the store.
func deployOnce(ctx context.Context, store *Store, name, id string) error {
	spec := fleet.DefaultSpec()
	spec.Name = name
	number, err := store.Services().AddRevision(ctx, fleet.Revision{Spec: spec}, fleet.Job{ID: id, State: fleet.JobQueued})
	if err != nil {
		return err
	}
	_, err1 := store.Events().Append(ctx, []fleet.Event{{Type: fleet.EventDeploy, Service: name}})
	err2 := store.Jobs().Update(ctx, fleet.Job{ID: id, Revision: number, State: fleet.JobSucceeded})
	_, err3 := store.Services().Load(ctx)
	_, err4 := store.Services().Revision(ctx, name, number)
	return errors.Join(err1, err2, err3, err4)
}

func TestACallWhoseContextHasEndedChangesNothing(t *testing.T) {
	store := openNew(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Settings().Set(ctx, "key", "value"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	_, set, err := store.Settings().Get(t.Context(), "key")
	must(t, err)
	if set {
		t.Error("it was stored")
	}
}

func TestADatabaseThatAnotherProcessKeepsLockedIsUnavailable(t *testing.T) {
	store := openNew(t)
	if _, err := store.writer.ExecContext(t.Context(), "PRAGMA busy_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	other, err := connect(t.Context(), store.path, 1, writing)
	must(t, err)
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	must(t, err)
	defer tx.Rollback()
	wantKind(t, store.Settings().Set(t.Context(), "key", "value"), fleet.Unavailable)
}

func TestWhatIsAnsweredForIsSyncedAndNotesAreNot(t *testing.T) {
	store := openNew(t)
	level := func() (level int) {
		must(t, store.writer.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&level))
		return level
	}
	const normal, full = 1, 2
	deploy(t, store, fullSpec("api"), "j1")
	if got := level(); got != full {
		t.Errorf("a revision was stored at level %d, want %d", got, full)
	}
	_, err := store.Events().Append(t.Context(), []fleet.Event{{Type: fleet.EventStep}})
	must(t, err)
	if got := level(); got != normal {
		t.Errorf("an event was stored at level %d, want %d", got, normal)
	}
	must(t, store.Jobs().Update(t.Context(), fleet.Job{ID: "j1", State: fleet.JobSucceeded}))
	if got := level(); got != full {
		t.Errorf("a job's end was stored at level %d, want %d", got, full)
	}
}
