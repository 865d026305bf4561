package engine

import (
	"context"
	"fmt"
	"time"

	"edgespawner/fleet"
)

const (
	followPage  = 500 // events that a follower reads at a time
	followAhead = 64  // of which so many are handed on before they are taken
	// followLook is how often a follower looks for events that another process
	// has stored, such as a backup.
	followLook = 10 * time.Second
)

// follower reads the store at its own pace, from an id on: however slow it is,
// it costs one page of memory and loses nothing that is kept.
type follower struct {
	filter fleet.EventFilter
	last   int64         // what it has seen up to
	news   chan struct{} // capacity 1
}

// hear is told of events that were just stored.
func (f *follower) hear(stored []fleet.Event) {
	for _, event := range stored {
		if f.filter.Selects(event) {
			poke(f.news)
			return
		}
	}
}

// follow returns the events that match: first the stored ones that the filter
// asks for (none, unless After, Since or Limit is set), then each new one.
// From is the id that the first of them follows: who goes on after the last id
// that was seen, or after from, misses nothing. The channel closes when ctx
// ends, when the recorder does, or when the store cannot be read.
func (r *recorder) follow(ctx context.Context, filter fleet.EventFilter) (from int64, events <-chan fleet.Event, err error) {
	f := &follower{filter: filter, news: make(chan struct{}, 1)}
	f.filter.Limit = followPage
	r.mu.Lock()
	r.followers[f] = struct{}{}
	r.mu.Unlock()
	past, err := r.begin(ctx, f, filter)
	if err != nil {
		r.leave(f)
		return 0, nil, err
	}
	from = f.last
	if len(past) > 0 {
		from = past[0].ID - 1
	}
	out := make(chan fleet.Event, followAhead)
	go func() {
		defer close(out)
		defer r.leave(f)
		if !deliver(ctx, out, past) {
			return
		}
		if err := r.tell(ctx, f, out); err != nil && ctx.Err() == nil {
			r.log.Error("Cannot read events for a follower", "error", err)
		}
	}()
	return max(0, from), out, nil
}

// begin says where a follower begins, and returns the newest events if its
// filter asks for some of the past without saying after which.
func (r *recorder) begin(ctx context.Context, f *follower, filter fleet.EventFilter) (past []fleet.Event, err error) {
	switch {
	case filter.After > 0:
		f.last = filter.After
	case filter.After < 0, filter.Limit == 0 && !filter.Since.IsZero():
		oldest, _, err := r.store.Bounds(ctx)
		f.last = oldest - 1
		return nil, err
	default:
		if _, f.last, err = r.store.Bounds(ctx); err != nil || filter.Limit == 0 {
			return nil, err
		}
		filter.Before = f.last + 1
		past, err = r.store.List(ctx, filter)
	}
	return past, err
}

func (r *recorder) leave(f *follower) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.followers, f)
}

// tell sends what there is, and then what comes, until ctx or the recorder ends.
func (r *recorder) tell(ctx context.Context, f *follower, out chan<- fleet.Event) error {
	look := time.NewTicker(followLook)
	defer look.Stop()
	for {
		if err := r.catchUp(ctx, f, out); err != nil {
			return err
		}
		select {
		case <-f.news:
		case <-look.C:
		case <-r.ended:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// catchUp sends all that is stored after what the follower has seen.
func (r *recorder) catchUp(ctx context.Context, f *follower, out chan<- fleet.Event) error {
	for {
		oldest, newest, err := r.store.Bounds(ctx)
		if err != nil {
			return err
		}
		if gap, found := f.gap(oldest, newest); found && !deliver(ctx, out, []fleet.Event{gap}) {
			return nil
		}
		page := f.filter
		if page.After = f.last; page.After == 0 {
			page.After = -1 // ascending from the first
		}
		events, err := r.store.List(ctx, page)
		if err != nil {
			return err
		}
		if !deliver(ctx, out, events) {
			return nil
		}
		if len(events) > 0 {
			f.last = events[len(events)-1].ID
		}
		if len(events) < followPage {
			f.last = max(f.last, newest)
			return nil
		}
	}
}

// gap is what a follower is told of events that it has not seen and that are no
// longer there: forgotten, or of a database in whose place an older one was put.
func (f *follower) gap(oldest, newest int64) (fleet.Event, bool) {
	gap := fleet.Event{Timestamp: time.Now().UTC(), Type: fleet.EventGap}
	switch {
	case f.last > newest:
		gap.ID = newest
		gap.Message = fmt.Sprintf("Event %d is not known here, the newest is %d: an older database may have been restored", f.last, newest)
	case f.last+1 < oldest:
		gap.ID = oldest - 1
		gap.Message = fmt.Sprintf("Events %d to %d are no longer kept", f.last+1, oldest-1)
	default:
		return gap, false
	}
	f.last = gap.ID
	return gap, true
}

// deliver sends events in order; false = ctx has ended.
func deliver(ctx context.Context, out chan<- fleet.Event, events []fleet.Event) bool {
	for _, event := range events {
		select {
		case out <- event:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
