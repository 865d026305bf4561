package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"edgespawner/fleet"
)

// Bounds of the recorder.
const (
	recorderPause = 100 * time.Millisecond // events of this long are stored together
	recorderRetry = time.Second            // from a store that failed to the next attempt
	mostPending   = 10_000                 // events that wait for a store that fails; older ones are given up
	storeTimeout  = 10 * time.Second
)

// recorder stores events off the path of whoever records them, and lets
// followers know that there are new ones.
type recorder struct {
	store    Events
	observer Observer
	log      *slog.Logger
	nudge    chan struct{} // capacity 1
	ended    chan struct{} // closed when nothing is stored any more

	mu        sync.Mutex
	pending   []fleet.Event
	lost      int // events that were given up since the last that was stored
	followers map[*follower]struct{}
}

func newRecorder(store Events, observer Observer, log *slog.Logger) *recorder {
	return &recorder{store: store, observer: observer, log: log, followers: map[*follower]struct{}{}, nudge: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (r *recorder) record(event fleet.Event) {
	if event.Timestamp.IsZero() {
		event.Timestamp = time.Now().UTC()
	}
	r.mu.Lock()
	r.pending = append(r.pending, event)
	r.boundLocked()
	r.mu.Unlock()
	poke(r.nudge)
}

// boundLocked gives up the oldest events of a store that fails for long.
func (r *recorder) boundLocked() {
	if over := len(r.pending) - mostPending; over > 0 {
		r.pending = append([]fleet.Event(nil), r.pending[over:]...)
		r.lost += over
	}
}

// poke lets who waits on a channel of capacity 1 look again.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run stores what was recorded until ctx ends, and then what is left.
func (r *recorder) run(ctx context.Context) {
	defer close(r.ended)
	flushWhenNudged(ctx, r.nudge, recorderPause, r.flush)
}

// flushWhenNudged stores by flush what has come since, gathering for a while after
// each nudge (0 = at once), until ctx ends, and then what is left. Flush says
// whether all is stored: else it is tried again.
func flushWhenNudged(ctx context.Context, nudge chan struct{}, gather time.Duration, flush func() bool) {
	for {
		select {
		case <-nudge:
			pause(ctx, gather)
			if !flush() {
				pause(ctx, recorderRetry)
				poke(nudge)
			}
		case <-ctx.Done():
			flush()
			return
		}
	}
}

// pause waits for d, at most until ctx ends. Nothing is waited for if d is 0.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// flush stores what is pending; false = it is pending still.
func (r *recorder) flush() bool {
	r.mu.Lock()
	batch, lost := r.pending, r.lost
	r.pending, r.lost = nil, 0
	r.mu.Unlock()
	if len(batch) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	stored, err := r.store.Append(ctx, withLoss(batch, lost))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.log.Error("Cannot store events", "count", len(batch), "error", err)
		r.pending = append(batch, r.pending...)
		r.lost += lost
		r.boundLocked()
		return false
	}
	r.observer.Stored(stored)
	for f := range r.followers {
		f.hear(stored)
	}
	return true
}

// withLoss puts before the events that some before them are lost.
func withLoss(events []fleet.Event, lost int) []fleet.Event {
	if lost == 0 {
		return events
	}
	warning := fleet.Event{Timestamp: events[0].Timestamp, Type: fleet.EventWarning,
		Message: fleet.CountedAre(lost, "event") + " lost before this one: the database could not be written for too long"}
	return append([]fleet.Event{warning}, events...)
}
