//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// followed are the events that `events -f -o json` has written so far.
func followed(t *testing.T, p *stand.Process) (events []fleet.Event) {
	t.Helper()
	for line := range strings.Lines(p.Log()) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var event fleet.Event
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("cannot read %q: %v", line, err)
		}
		events = append(events, event)
	}
	return events
}

// mustHaveFollowed waits until the follower has written exactly the recorded
// events after an id, each once and in order.
func mustHaveFollowed(t *testing.T, s *stand.Stand, p *stand.Process, after int64) {
	t.Helper()
	stand.Eventually(t, 20*time.Second, "all events are followed, each once", func() error {
		var want, got []int64
		for _, event := range s.Events("", "") {
			if event.ID > after {
				want = append(want, event.ID)
			}
		}
		for _, event := range followed(t, p) {
			got = append(got, event.ID)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("recorded %v, followed %v", want, got)
		}
		return nil
	})
}

func TestEventsAreFollowedOverRestartsOfTheSpawnerNoneLostAndNoneTwice(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	follower := s.StartCLI("events-f", "events", "-f", "-o", "json")
	people := s.StartCLI("events-people", "events", "web", "-f", "--type", "scale,restart,exit")
	// Nothing tells from outside that they stand: an event that both have seen does.
	var first int64
	stand.Eventually(t, 20*time.Second, "the followers stand", func() error {
		s.Restart("web")
		events := followed(t, follower)
		if len(events) == 0 || !strings.Contains(people.Log(), "restart of web succeeded") {
			return fmt.Errorf("they have written %d events and %q", len(events), people.Log())
		}
		first = events[0].ID
		return nil
	})
	s.Spawner.Kill()
	s.Spawner.Start()
	s.Spawner.WaitReady()
	s.Scale("web", 2)
	if code := s.Spawner.Stop(); code != 0 {
		t.Errorf("the spawner ended with code %d", code)
	}
	s.Spawner.Start()
	s.Spawner.WaitReady()
	s.Scale("web", 1)
	mustHaveFollowed(t, s, follower, first-1)
	if !follower.Running() {
		t.Error("the follower has ended")
	}
	for _, event := range s.Events("web", fleet.EventScale) {
		if event.By != "admin" || !strings.HasPrefix(event.Message, "scale of web ") {
			t.Errorf("got %+v", event)
		}
		line := fmt.Sprintf("[%s] %s\n", event.Timestamp.Local().Format("2006-01-02 15:04:05"), event.Message)
		stand.Eventually(t, 20*time.Second, "people are shown it", func() error { // by a process of its own
			if !strings.Contains(people.Log(), line) {
				return fmt.Errorf("%q is not in\n%s", line, people.Log())
			}
			return nil
		})
		if count := strings.Count(people.Log(), line); count != 1 {
			t.Errorf("%q is shown %d times in\n%s", line, count, people.Log())
		}
	}
}

func TestACrashIsToldInTheFormThatPeopleKnow(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	stand.Docker(t, "kill", s.App("web"))
	want := []string{"web-0 exited with code 137", "Restarting web-0...", "Container web-0 healthy"}
	stand.Eventually(t, 20*time.Second, "the events tell of the crash in order", func() error {
		output, _ := s.CLI("events", "web", "--type", "exit,restart,health")
		rest := output
		for _, text := range want {
			at := strings.Index(rest, text)
			if at < 0 {
				return fmt.Errorf("no %q, in its turn, in\n%s", text, output)
			}
			rest = rest[at:]
		}
		return nil
	})
}

func TestLogsAreFollowedOverAReplacementAndARestartOfTheSpawner(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	web := s.MockApp("web", "web.test")
	web.Replicas = 2
	s.Deploy(web)
	follower := s.StartCLI("logs-f", "logs", "web", "-f")
	wrote := func(text string, times int) {
		t.Helper()
		stand.Eventually(t, 20*time.Second, fmt.Sprintf("%q stands %d times in the logs", text, times), func() error {
			if got := strings.Count(follower.Log(), text); got != times {
				return fmt.Errorf("%d times in\n%s", got, follower.Log())
			}
			return nil
		})
	}
	wrote("| time=", 2) // each says that it listens
	s.Deploy(withVersion(t, web, 1))
	wrote("version=1", 2)
	wrote("Told to end", 2) // the last words of the old ones
	s.Spawner.Restart()
	s.Deploy(withVersion(t, web, 2))
	wrote("version=2", 2)
	wrote("Told to end", 4)
	wrote("version=1", 2)
	s.Scale("web", 3) // one joins
	wrote("web-2 | ", 1)
	output, code := s.CLI("logs", "web", "--tail", "2", "--timestamps")
	if lines := strings.Split(strings.TrimSpace(output), "\n"); code != 0 || len(lines) != 2 || !strings.HasPrefix(lines[1], "web-2 | ") {
		t.Errorf("code %d, got\n%s", code, output)
	}
	s.Remove("web")
	stand.Eventually(t, 30*time.Second, "the follower ends with its service", func() error {
		if follower.Running() {
			return fmt.Errorf("it runs")
		}
		return nil
	})
	if code := follower.Stop(); code != 0 {
		t.Errorf("it ended with code %d:\n%s", code, follower.LogTail(5))
	}
}
