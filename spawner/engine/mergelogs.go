package engine

import (
	"cmp"
	"context"
	"sync"
	"time"

	"edgespawner/fleet"
)

// mergeWindow is how many lines of all replicas together are read ahead.
const mergeWindow = 256

// tellPast tells what the sources have written up to now, in the order of its
// times, and leaves their cursors there.
func (r *logReader) tellPast(ctx context.Context, sources []logSource) error {
	o := r.options
	o.Follow = false
	if o.Tail == 0 { // the last line of each tells its cursor where to go on
		o.Tail = 1
		return r.merge(ctx, sources, o, r.cursors, func(fleet.LogLine) error { return nil })
	}
	skip := 0
	if o.Tail > 0 && len(sources) > 1 {
		from, same := r.cut(ctx, sources, o)
		if !from.IsZero() {
			o.Since, o.Tail, skip = from, -1, same
			for _, source := range sources {
				r.cursor(source.id).Skip(from)
			}
		}
	}
	return r.merge(ctx, sources, o, r.cursors, func(l fleet.LogLine) error {
		if skip > 0 && l.Time.Equal(o.Since) {
			skip--
			return nil
		}
		return r.tell(l)
	})
}

// cut finds where the last lines of all sources together begin: from that time
// on, without the first few lines of that very time; the zero time = there are
// no more than asked for. It keeps times, not lines; the lines of one source have
// each a time of its own. What cannot be read is left to the reading that tells them.
func (r *logReader) cut(ctx context.Context, sources []logSource, o fleet.LogOptions) (from time.Time, skip int) {
	last := make([]time.Time, 0, min(o.Tail, 1024)) // a ring of the last Tail times
	oldest, dropped, same := 0, time.Time{}, 0
	_ = r.merge(ctx, sources, o, map[string]*fleet.LogCursor{}, func(l fleet.LogLine) error {
		if len(last) < o.Tail {
			last = append(last, l.Time)
			return nil
		}
		if gone := last[oldest]; gone.Equal(dropped) {
			same++
		} else {
			dropped, same = gone, 1
		}
		last[oldest] = l.Time
		oldest = (oldest + 1) % o.Tail
		return nil
	})
	if dropped.IsZero() {
		return time.Time{}, 0
	}
	if from = last[oldest]; !from.Equal(dropped) {
		same = 0
	}
	return from, same
}

// merge reads every source at once and always tells the oldest line next. A
// source that cannot be read is told of at the end.
func (r *logReader) merge(ctx context.Context, sources []logSource, o fleet.LogOptions, cursors map[string]*fleet.LogCursor, tell func(fleet.LogLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel() // before the wait: a reader whose lines nobody takes ends with ctx
	heads := make([]*logHead, len(sources))
	for i, source := range sources {
		head := &logHead{lines: make(chan fleet.LogLine, max(1, mergeWindow/len(sources)))}
		heads[i] = head
		cursor := cursors[source.id]
		if cursor == nil {
			cursor = &fleet.LogCursor{}
			cursors[source.id] = cursor
		}
		readers.Go(func() {
			defer close(head.lines)
			head.err = r.readOne(ctx, source, o, cursor, func(l fleet.LogLine) error {
				select {
				case head.lines <- l:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			})
		})
	}
	var broken error
	for {
		oldest, err := oldestOf(heads)
		broken = firstError(broken, err)
		if oldest == nil {
			return broken
		}
		if err := tell(oldest.take()); err != nil {
			return &readerError{err}
		}
	}
}

// logHead is the next line of one source.
type logHead struct {
	lines chan fleet.LogLine
	next  *fleet.LogLine
	err   error // valid once lines is closed
}

func (h *logHead) take() fleet.LogLine {
	l := *h.next
	h.next = nil
	return l
}

// oldestOf returns the head with the oldest line, nil when all have ended; and
// an error of one of those that have.
func oldestOf(heads []*logHead) (oldest *logHead, broken error) {
	for _, h := range heads {
		if h.next == nil {
			if l, ok := <-h.lines; ok {
				h.next = &l
			} else {
				broken = firstError(broken, h.err)
				continue
			}
		}
		if oldest == nil || older(*h.next, *oldest.next) {
			oldest = h
		}
	}
	return oldest, broken
}

func older(x, y fleet.LogLine) bool {
	return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Replica, y.Replica)) < 0
}
