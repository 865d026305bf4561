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
	recorderPause    = 100 * time.Millisecond // events of this long are stored together
	followerCapacity = 1024                   // events that a slow follower may lag behind; then it is let go
	storeTimeout     = 10 * time.Second
)

// recorder stores events off the path of whoever records them, and tells
// followers each one after it is stored.
type recorder struct {
	store Events
	log   *slog.Logger

	mu        sync.Mutex
	pending   []fleet.Event
	followers map[chan fleet.Event]fleet.EventFilter // each closed when its follower leaves or lags
	nudge     chan struct{}                          // capacity 1
}

func newRecorder(store Events, log *slog.Logger) *recorder {
	return &recorder{store: store, log: log, followers: map[chan fleet.Event]fleet.EventFilter{}, nudge: make(chan struct{}, 1)}
}

func (r *recorder) record(event fleet.Event) {
	if event.Timestamp.IsZero() {
		event.Timestamp = time.Now().UTC()
	}
	r.mu.Lock()
	r.pending = append(r.pending, event)
	r.mu.Unlock()
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}

// run stores what was recorded until ctx ends, and then what is left.
func (r *recorder) run(ctx context.Context) {
	for {
		select {
		case <-r.nudge:
			select {
			case <-time.After(recorderPause):
			case <-ctx.Done():
			}
			r.flush()
		case <-ctx.Done():
			r.flush()
			r.letAllGo()
			return
		}
	}
}

func (r *recorder) flush() {
	r.mu.Lock()
	batch := r.pending
	r.pending = nil
	r.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	stored, err := r.store.Append(ctx, batch)
	if err != nil {
		r.log.Error("Cannot store events", "count", len(batch), "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, event := range stored {
		for follower, filter := range r.followers {
			if matches(filter, event) {
				r.tellLocked(follower, event)
			}
		}
	}
}

func (r *recorder) tellLocked(follower chan fleet.Event, event fleet.Event) {
	select {
	case follower <- event:
	default: // too slow: it is let go, and finds out by the closed channel
		delete(r.followers, follower)
		close(follower)
	}
}

func (r *recorder) letAllGo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for follower := range r.followers {
		delete(r.followers, follower)
		close(follower)
	}
}

func matches(filter fleet.EventFilter, event fleet.Event) bool {
	return (filter.Service == "" || filter.Service == event.Service) &&
		(filter.Type == "" || filter.Type == event.Type) &&
		event.ID > filter.After && !event.Timestamp.Before(filter.Since)
}

// follow returns the events that match: first the stored ones after
// filter.After (none when that is 0 and Since is zero), then each new one. The
// channel closes when ctx ends or the reader lags followerCapacity events behind.
func (r *recorder) follow(ctx context.Context, filter fleet.EventFilter) <-chan fleet.Event {
	live := make(chan fleet.Event, followerCapacity)
	r.mu.Lock()
	r.followers[live] = filter
	r.mu.Unlock()
	out := make(chan fleet.Event)
	go func() {
		defer close(out)
		defer r.unfollow(live)
		last := r.replay(ctx, filter, out)
		for {
			select {
			case event, ok := <-live:
				if !ok {
					return
				}
				if event.ID <= last {
					continue // told by the replay already
				}
				if !deliver(ctx, out, event) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// replay tells the stored events and returns the id of the last.
func (r *recorder) replay(ctx context.Context, filter fleet.EventFilter, out chan<- fleet.Event) int64 {
	last := filter.After
	if filter.After == 0 && filter.Since.IsZero() && filter.Limit == 0 {
		return last
	}
	page := filter
	for {
		events, err := r.store.List(ctx, page)
		if err != nil {
			r.log.Error("Cannot list events for a follower", "error", err)
			return last
		}
		for _, event := range events {
			if !deliver(ctx, out, event) {
				return last
			}
			last = event.ID
		}
		if len(events) == 0 || page.After == 0 {
			return last
		}
		page.After = last
	}
}

func deliver(ctx context.Context, out chan<- fleet.Event, event fleet.Event) bool {
	select {
	case out <- event:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *recorder) unfollow(live chan fleet.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.followers[live]; there {
		delete(r.followers, live)
		close(live)
	}
}
