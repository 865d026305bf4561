package engine

import (
	"fmt"
	"time"

	"edgespawner/fleet"
)

// Observer is told what has happened, for whoever counts it. It is called on
// the goroutines that did it and must return at once.
type Observer interface {
	// Woke tells the end of a wake that started apps: from its request until a
	// replica was ready, or with the error why none became so. Depth is how deep the service slept.
	Woke(service string, depth fleet.SleepMode, took time.Duration, err error)
	// Slept tells that every replica of a service is down, by a sleep.
	Slept(service string, depth fleet.SleepMode)
	// Restarting tells that the engine has decided to restart a replica.
	Restarting(service string, reason RestartReason)
	// JobEnded tells a job that has reached its end state.
	JobEnded(job fleet.Job)
	// Stored tells the events that have been stored.
	Stored(events []fleet.Event)
}

// RestartReason is why the engine restarts a replica by itself.
type RestartReason string

// The reasons of a restart.
const (
	RestartCrashed     RestartReason = "crashed"       // its app ended by fault
	RestartOutOfMemory RestartReason = "out_of_memory" // the kernel killed its app
	RestartStopped     RestartReason = "stopped"       // somebody else stopped its app, or it ended unseen
	RestartCutOff      RestartReason = "cut_off"       // its sandbox ended or began anew, and its app had no network
	RestartUnhealthy   RestartReason = "unhealthy"     // its app runs and its checks fail
	RestartStartFailed RestartReason = "start_failed"  // it could not be brought up
)

// nobody observes.
type nobody struct{}

func (nobody) Woke(string, fleet.SleepMode, time.Duration, error) {}
func (nobody) Slept(string, fleet.SleepMode)                      {}
func (nobody) Restarting(string, RestartReason)                   {}
func (nobody) JobEnded(fleet.Job)                                 {}
func (nobody) Stored([]fleet.Event)                               {}

// observePower tells the wakes and sleeps that are in a change of power. A wake
// counts from the request, also when that came while replicas were being stopped.
func (a *actor) observePower(from, to power) {
	switch {
	case to == powerWanted, to == powerWaking && from != powerWanted:
		a.wakeBegan = time.Now()
	case from == powerWaking && !a.wakeBegan.IsZero():
		var err error
		if to != powerAwake {
			err = a.failure
		}
		took := time.Since(a.wakeBegan)
		a.engine.observer.Woke(a.name, a.depth, took, err)
		if err == nil && a.wakeTold {
			a.engine.record(fleet.Event{Type: fleet.EventWake, Service: a.name, Message: fmt.Sprintf("%s is awake after %s", a.name, took.Round(time.Millisecond))})
		}
		a.wakeBegan, a.wakeTold = time.Time{}, false
	case to == powerAsleep:
		a.engine.observer.Slept(a.name, a.depth)
		if from == powerStopping {
			a.engine.record(fleet.Event{Type: fleet.EventSleep, Service: a.name, Message: a.name + " is asleep"})
		}
	}
}

// Load is how much work the engine has at a moment.
type Load struct {
	JobsWaiting    int
	JobsRunning    int
	EventFollowers int
	LogFollowers   int
}

// Load returns how much work there is now.
func (e *Engine) Load() Load {
	waiting, running := e.queue.count()
	return Load{JobsWaiting: waiting, JobsRunning: running, EventFollowers: e.recorder.following(), LogFollowers: int(e.following.Load())}
}

func (q *queue) count() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, run := range q.byID {
		if run.atWork {
			running++
		}
	}
	return len(q.byID) - running, running
}

func (r *recorder) following() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.followers)
}
