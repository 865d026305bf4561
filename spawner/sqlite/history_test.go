package sqlite

import (
	"fmt"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestAJobComesBackWithItsStepsAndWarnings(t *testing.T) {
	store := openNew(t)
	job := fleet.Job{ID: "j1", Kind: fleet.JobScale, Service: "api", Replicas: 2, Force: true, State: fleet.JobQueued, By: "alice", CreatedAt: noon, Steps: []fleet.Step{}}
	must(t, store.Jobs().Add(t.Context(), job))
	wantKind(t, store.Jobs().Add(t.Context(), job), fleet.Conflict)
	job.State, job.StartedAt, job.EndedAt = fleet.JobFailed, noon.Add(time.Second), noon.Add(time.Minute)
	job.Error, job.Warnings = "cannot pull", []string{"a but"}
	job.Steps = []fleet.Step{{Verb: "pull", Replica: "api-0", State: fleet.JobFailed, Detail: "no such image", StartedAt: noon}}
	must(t, store.Jobs().Update(t.Context(), job))
	got, err := reopen(t, store).Jobs().Get(t.Context(), "j1")
	must(t, err)
	diff(t, got, job)
}

// fillJobs stores jobs 0 to n-1; the odd ones have ended, each a minute after the last.
func fillJobs(t *testing.T, store *Store, n int) {
	t.Helper()
	for i := range n {
		job := fleet.Job{ID: fmt.Sprint(i), Service: fmt.Sprintf("s%d", i%3), State: fleet.JobRunning, CreatedAt: noon}
		if i%2 == 1 {
			job.State, job.EndedAt = fleet.JobSucceeded, noon.Add(time.Duration(i)*time.Minute)
		}
		must(t, store.Jobs().Add(t.Context(), job))
	}
}

func jobIDs(t *testing.T, store *Store, service string, unfinished bool, limit int) string {
	t.Helper()
	jobs, err := store.Jobs().List(t.Context(), service, unfinished, limit)
	must(t, err)
	ids := ""
	for _, job := range jobs {
		ids += job.ID + " "
	}
	return ids
}

func TestJobsAreListedNewestFirstByServiceAndState(t *testing.T) {
	store := openNew(t)
	fillJobs(t, store, 10)
	for _, test := range []struct {
		service    string
		unfinished bool
		limit      int
		want       string
	}{
		{"", false, 0, "9 8 7 6 5 4 3 2 1 0 "},
		{"", false, 3, "9 8 7 "},
		{"s1", false, 0, "7 4 1 "},
		{"", true, 0, "8 6 4 2 0 "},
		{"s0", true, 1, "6 "},
		{"none", false, 0, ""},
	} {
		if got := jobIDs(t, store, test.service, test.unfinished, test.limit); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}

func TestPruningJobsNeverTakesAnUnfinishedOne(t *testing.T) {
	store := openNew(t)
	fillJobs(t, store, 10)
	deleted, err := store.Jobs().Prune(t.Context(), noon.Add(4*time.Minute), 3)
	must(t, err)
	if got := jobIDs(t, store, "", false, 0); got != "9 8 7 6 4 2 0 " || deleted != 3 {
		t.Errorf("%d deleted, left %q", deleted, got)
	}
}

// fillEvents stores events with ids 1 to n, a minute apart.
func fillEvents(t *testing.T, store *Store, n int) {
	t.Helper()
	events := make([]fleet.Event, n)
	for i := range events {
		events[i] = fleet.Event{Timestamp: noon.Add(time.Duration(i+1) * time.Minute), Type: fleet.EventStep, Service: fmt.Sprintf("s%d", (i+1)%3),
			Container: "c", NodeID: "n", Message: "m", By: fmt.Sprintf("u%d", (i+1)%2)}
		if (i+1)%2 == 0 {
			events[i].Type = fleet.EventWake
		}
	}
	stored, err := store.Events().Append(t.Context(), events)
	must(t, err)
	if stored[n-1].ID != int64(n) || events[0].ID != 0 {
		t.Errorf("got id %d for the last of %d, and %d in the slice given", stored[n-1].ID, n, events[0].ID)
	}
}

func eventIDs(t *testing.T, store *Store, filter fleet.EventFilter) string {
	t.Helper()
	events, err := store.Events().List(t.Context(), filter)
	must(t, err)
	ids := ""
	for _, event := range events {
		ids += fmt.Sprint(event.ID, " ")
	}
	return ids
}

func TestEventsAreSelectedByFilterInAscendingOrder(t *testing.T) {
	store := openNew(t)
	fillEvents(t, store, 12)
	for _, test := range []struct {
		filter fleet.EventFilter
		want   string
	}{
		{fleet.EventFilter{}, "1 2 3 4 5 6 7 8 9 10 11 12 "},
		{fleet.EventFilter{Limit: 3}, "10 11 12 "},
		{fleet.EventFilter{After: 4, Limit: 3}, "5 6 7 "},
		{fleet.EventFilter{After: 12}, ""},
		{fleet.EventFilter{Service: "s1"}, "1 4 7 10 "},
		{fleet.EventFilter{Service: "s1", Types: []fleet.EventType{fleet.EventWake}}, "4 10 "},
		{fleet.EventFilter{Since: noon.Add(9 * time.Minute)}, "9 10 11 12 "},
		{fleet.EventFilter{Since: noon.Add(9 * time.Minute), Limit: 1}, "12 "},
		{fleet.EventFilter{Since: noon.Add(9 * time.Minute), After: 2, Limit: 1}, "9 "},
		{fleet.EventFilter{Until: noon.Add(3 * time.Minute)}, "1 2 "},
		{fleet.EventFilter{Before: 6, Limit: 2}, "4 5 "},
		{fleet.EventFilter{After: 2, Before: 6, Limit: 2}, "3 4 "},
		{fleet.EventFilter{After: -1, Limit: 2}, "1 2 "},
		{fleet.EventFilter{Types: []fleet.EventType{fleet.EventWake, fleet.EventExit}}, "2 4 6 8 10 12 "},
		{fleet.EventFilter{Types: []fleet.EventType{fleet.EventWake, fleet.EventStep}, Limit: 2}, "11 12 "},
		{fleet.EventFilter{Container: "c", Node: "n", By: "u1", Limit: 2}, "9 11 "},
		{fleet.EventFilter{Container: "other"}, ""},
		{fleet.EventFilter{Node: "other"}, ""},
	} {
		if got := eventIDs(t, store, test.filter); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.filter, got, test.want)
		}
		if test.filter.Limit == 0 { // Selects says of each what the query says
			if got := selectedIDs(t, store, test.filter); got != test.want {
				t.Errorf("%+v: selects %q, want %q", test.filter, got, test.want)
			}
		}
	}
}

func selectedIDs(t *testing.T, store *Store, filter fleet.EventFilter) string {
	t.Helper()
	events, err := store.Events().List(t.Context(), fleet.EventFilter{Limit: 100})
	must(t, err)
	ids := ""
	for _, event := range events {
		if filter.Selects(event) {
			ids += fmt.Sprint(event.ID, " ")
		}
	}
	return ids
}

func wantBounds(t *testing.T, store *Store, oldest, newest int64) {
	t.Helper()
	gotOldest, gotNewest, err := store.Events().Bounds(t.Context())
	must(t, err)
	if gotOldest != oldest || gotNewest != newest {
		t.Errorf("got bounds %d and %d, want %d and %d", gotOldest, gotNewest, oldest, newest)
	}
}

func TestAnEventComesBackAsItWas(t *testing.T) {
	store := openNew(t)
	stored, err := store.Events().Append(t.Context(), []fleet.Event{
		{Timestamp: noon.In(time.FixedZone("", 3600)), Type: fleet.EventExit, Service: "s", Container: "s-0", NodeID: "local", Message: "exit 1", By: "ci"}, {}})
	must(t, err)
	if stored[1].Timestamp.IsZero() {
		t.Error("an event without a time got none")
	}
	got, err := store.Events().List(t.Context(), fleet.EventFilter{})
	must(t, err)
	diff(t, got[0], fleet.Event{ID: 1, Timestamp: noon, Type: fleet.EventExit, Service: "s", Container: "s-0", NodeID: "local", Message: "exit 1", By: "ci"})
}

func TestPrunedEventsAreTheOldestAndTheirIdsAreNotGivenAgain(t *testing.T) {
	store := openNew(t)
	const n = 2*pruneBatch + 7
	wantBounds(t, store, 1, 0)
	fillEvents(t, store, n)
	wantBounds(t, store, 1, n)
	deleted, err := store.Events().Prune(t.Context(), noon.Add(6*time.Minute), 0)
	must(t, err)
	if deleted != 5 {
		t.Errorf("by age: deleted %d, want 5", deleted)
	}
	deleted, err = store.Events().Prune(t.Context(), time.Time{}, 2)
	must(t, err)
	if want := n - 5 - 2; deleted != want {
		t.Errorf("by number: deleted %d, want %d", deleted, want)
	}
	if got, want := eventIDs(t, store, fleet.EventFilter{}), fmt.Sprintf("%d %d ", n-1, n); got != want {
		t.Errorf("left %q, want %q", got, want)
	}
	deleted, err = store.Events().Prune(t.Context(), noon.Add(24*365*time.Hour), 0)
	must(t, err)
	store = reopen(t, store)
	wantBounds(t, store, n+1, n)
	stored, err := store.Events().Append(t.Context(), []fleet.Event{{Type: fleet.EventWake}})
	must(t, err)
	if deleted != 2 || stored[0].ID != n+1 {
		t.Errorf("deleted %d, and the next id is %d, want %d", deleted, stored[0].ID, n+1)
	}
}
