package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 123456789, time.UTC)

// fullSpec returns a spec in which every kind of field is set.
func fullSpec(name string) fleet.Spec {
	off := false
	spec := fleet.DefaultSpec()
	spec.Name, spec.Image, spec.Replicas = name, "myapp:latest", 3
	spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 8080, Protocol: "tcp"}}
	spec.Resources = fleet.Resources{CPUShares: 1024, MemoryMB: 512}
	spec.HealthCheck = &fleet.HealthCheck{Type: fleet.CheckHTTP, Endpoint: "http://localhost:8080/health", Interval: fleet.Duration(time.Second),
		Headers: map[string]fleet.Secret{"Authorization": "Bearer hunter2"}}
	spec.Env = map[string]fleet.Secret{"KEY": "v\x00al\"ü'e", "EMPTY": "", "redacted": fleet.Redacted}
	spec.Labels = map[string]string{"a": "b"}
	spec.Route = &fleet.Route{Hosts: []string{"api.example.com"}, Cookie: &fleet.Cookie{Name: "instance", Value: "api"}, Failover: &off, TLS: true}
	spec.Sleep.After = fleet.Duration(10 * time.Minute)
	spec.Command, spec.Networks = []string{"run", "--it"}, []string{"traefiknet"}
	spec.Direct = true
	return spec
}

// deploy stores a revision with a job of that id.
func deploy(t *testing.T, store *Store, spec fleet.Spec, jobID string) int {
	t.Helper()
	number, err := store.Services().AddRevision(t.Context(),
		fleet.Revision{Spec: spec, By: "alice", CreatedAt: noon, Outcome: fleet.OutcomePending},
		fleet.Job{ID: jobID, Kind: fleet.JobDeploy, State: fleet.JobQueued, By: "alice", CreatedAt: noon})
	must(t, err)
	return number
}

func TestARevisionComesBackAsItWasAcceptedEnvIncluded(t *testing.T) {
	store := openNew(t)
	spec := fullSpec("api")
	if number := deploy(t, store, spec, "j1"); number != 1 {
		t.Errorf("got number %d, want 1", number)
	}
	plain := fleet.Spec{Name: "api", Image: "other", Replicas: 0} // zeroes stay zeroes
	if number := deploy(t, store, plain, "j2"); number != 2 {
		t.Errorf("got number %d, want 2", number)
	}
	got, err := reopen(t, store).Services().Revisions(t.Context(), "api")
	must(t, err)
	diff(t, got, []fleet.Revision{
		{Service: "api", Number: 2, Spec: plain, By: "alice", CreatedAt: noon, Outcome: fleet.OutcomePending},
		{Service: "api", Number: 1, Spec: spec, By: "alice", CreatedAt: noon, Outcome: fleet.OutcomePending},
	})
	for key, want := range spec.Env { // cmp sees strings, but let nobody doubt it
		if value := got[1].Spec.Env[key].Reveal(); value != want.Reveal() {
			t.Errorf("env %s: got %q, want %q", key, value, want.Reveal())
		}
	}
}

func TestAFirstDeployMakesTheServiceAndItsJob(t *testing.T) {
	store := openNew(t)
	deploy(t, store, fullSpec("api"), "j1")
	services, err := store.Services().Load(t.Context())
	must(t, err)
	diff(t, services, []fleet.Desired{{Name: "api", Replicas: 3, Power: fleet.PowerAwake, CreatedAt: noon, ChangedAt: noon}})
	job, err := store.Jobs().Get(t.Context(), "j1")
	must(t, err)
	if job.Service != "api" || job.Revision != 1 {
		t.Errorf("got a job of service %q, revision %d", job.Service, job.Revision)
	}
}

func TestALaterDeployLeavesTheDesiredStateToItsJob(t *testing.T) {
	store := openNew(t)
	deploy(t, store, fullSpec("api"), "j1")
	want := fleet.Desired{Name: "api", Revision: 1, Replicas: 7, Power: fleet.PowerDozing, CreatedAt: noon, ChangedAt: noon.Add(time.Hour)}
	must(t, store.Services().Save(t.Context(), want))
	deploy(t, store, fullSpec("api"), "j2")
	services, err := store.Services().Load(t.Context())
	must(t, err)
	diff(t, services, []fleet.Desired{want})
}

func TestARevisionAndItsJobAreStoredTogetherOrNotAtAll(t *testing.T) {
	store := openNew(t)
	deploy(t, store, fullSpec("first"), "taken")
	spec := fullSpec("second")
	_, err := store.Services().AddRevision(t.Context(), fleet.Revision{Spec: spec}, fleet.Job{ID: "taken"})
	wantKind(t, err, fleet.Conflict)
	_, err = store.Services().Revisions(t.Context(), "second")
	wantKind(t, err, fleet.NotFound)
	var left int
	must(t, store.reader.QueryRowContext(t.Context(), "SELECT count(*) FROM env WHERE service = 'second'").Scan(&left))
	if left != 0 {
		t.Errorf("%d rows of env were left behind", left)
	}
}

func TestAServiceThatIsBeingRemovedTakesNoDeploy(t *testing.T) {
	store := openNew(t)
	deploy(t, store, fullSpec("api"), "j1")
	must(t, store.Services().Save(t.Context(), fleet.Desired{Name: "api", Removing: true}))
	_, err := store.Services().AddRevision(t.Context(), fleet.Revision{Spec: fullSpec("api")}, fleet.Job{ID: "j2"})
	wantKind(t, err, fleet.Conflict)
	_, err = store.Jobs().Get(t.Context(), "j2")
	wantKind(t, err, fleet.NotFound)
}

func TestTheOutcomeOfARevisionIsRecorded(t *testing.T) {
	store := openNew(t)
	deploy(t, store, fullSpec("api"), "j1")
	revision, err := store.Services().Revision(t.Context(), "api", 1)
	must(t, err)
	revision.ImageID, revision.ImageDigest, revision.Outcome = "sha256:1", "myapp@sha256:2", fleet.OutcomeSucceeded
	must(t, store.Services().SetRevision(t.Context(), revision))
	got, err := store.Services().Revision(t.Context(), "api", 1)
	must(t, err)
	diff(t, got, revision)
}

func TestADeletedServiceLeavesItsJobsAndEventsAndNoSecretInTheFile(t *testing.T) {
	store := openNew(t)
	spec := fullSpec("api")
	spec.Env = map[string]fleet.Secret{"PASSWORD": "hunter2-hunter2"}
	deploy(t, store, spec, "j1")
	_, err := store.Events().Append(t.Context(), []fleet.Event{{Type: fleet.EventDeploy, Service: "api"}})
	must(t, err)
	must(t, store.Services().Delete(t.Context(), "api"))
	_, err = store.Services().Revision(t.Context(), "api", 1)
	wantKind(t, err, fleet.NotFound)
	if _, err := store.Jobs().Get(t.Context(), "j1"); err != nil {
		t.Error(err)
	}
	events, err := store.Events().List(t.Context(), fleet.EventFilter{Service: "api"})
	must(t, err)
	if len(events) != 1 {
		t.Errorf("got %d events, want 1", len(events))
	}
	must(t, store.Close())
	if holds(t, store.path, "hunter2-hunter2") {
		t.Error("the file still holds the value of a deleted env")
	}
	if again := deploy(t, openAt(t, store.path), spec, "j2"); again != 1 {
		t.Errorf("a service made anew begins with revision %d, want 1", again)
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	store := openNew(t)
	services := store.Services()
	deploy(t, store, fullSpec("api"), "j1")
	_, noRevision := services.Revision(t.Context(), "api", 2)
	_, noService := services.Revision(t.Context(), "web", 1)
	_, noRevisions := services.Revisions(t.Context(), "web")
	_, noJob := store.Jobs().Get(t.Context(), "j2")
	for what, err := range map[string]error{
		"revision": noRevision, "service": noService, "revisions": noRevisions, "job": noJob,
		"save": services.Save(t.Context(), fleet.Desired{Name: "web"}), "delete": services.Delete(t.Context(), "web"),
		"set":    services.SetRevision(t.Context(), fleet.Revision{Service: "api", Number: 2}),
		"update": store.Jobs().Update(t.Context(), fleet.Job{ID: "j2"}),
	} {
		if fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("%s: got %v, want not found", what, err)
		}
	}
}

func TestAnAdoptedServiceKeepsTheNumberOfItsRevision(t *testing.T) {
	store := openNew(t)
	desired := fleet.Desired{Name: "api", Replicas: 3, Power: fleet.PowerAwake, CreatedAt: noon, ChangedAt: noon}
	revision := fleet.Revision{Number: 7, Spec: fullSpec("api"), CreatedAt: noon, Outcome: fleet.OutcomeSucceeded}
	must(t, store.Services().Adopt(t.Context(), desired, revision))
	wantKind(t, store.Services().Adopt(t.Context(), desired, revision), fleet.Conflict)
	desired.Revision = 7
	services, err := store.Services().Load(t.Context())
	must(t, err)
	diff(t, services, []fleet.Desired{desired})
	if number := deploy(t, store, fullSpec("api"), "j1"); number != 8 {
		t.Errorf("the next revision is %d, want 8", number)
	}
}

func TestValuesOfEnvAreInOneColumnAndNowhereElse(t *testing.T) {
	const marker = "c0ffee-only-here"
	store := openNew(t)
	spec := fullSpec("api")
	spec.Env = map[string]fleet.Secret{"SECRET": marker}
	deploy(t, store, spec, "j1")
	must(t, store.Services().Adopt(t.Context(), fleet.Desired{Name: "web"}, fleet.Revision{Number: 1, Spec: spec}))
	var found []string
	tables, err := query(t.Context(), store.reader, scanText, "SELECT name FROM sqlite_schema WHERE type = 'table'")
	must(t, err)
	for _, table := range tables {
		columns, err := query(t.Context(), store.reader, scanText, "SELECT name FROM pragma_table_info(?)", table)
		must(t, err)
		for _, column := range columns {
			var hits int
			must(t, store.reader.QueryRowContext(t.Context(),
				fmt.Sprintf("SELECT count(*) FROM %q WHERE instr(%q, ?)", table, column), marker).Scan(&hits))
			if hits > 0 {
				found = append(found, table+"."+column)
			}
		}
	}
	diff(t, found, []string{"env.value"})
	if logged := fmt.Sprintf("%v %+v %#v", spec, spec, spec); strings.Contains(logged, marker) {
		t.Error("a printed spec shows the value")
	}
}

func scanText(row scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

func TestAnOpenDatabaseIsThreeFilesAndALock(t *testing.T) {
	directory := t.TempDir()
	openAt(t, filepath.Join(directory, "spawner.db"))
	matches, err := filepath.Glob(filepath.Join(directory, "*"))
	must(t, err)
	for i := range matches {
		matches[i] = filepath.Base(matches[i])
	}
	diff(t, matches, []string{"spawner.db", "spawner.db-shm", "spawner.db-wal", "spawner.db.lock"})
}
