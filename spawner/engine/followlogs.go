package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

const (
	joinPeriod = time.Second // how often a follower looks for apps that were made or started since
	// orderPeriod is how long a line waits for older ones of other replicas.
	orderPeriod = 50 * time.Millisecond
)

// logFollow is the following of a service's logs: what is read now, and how it ended.
type logFollow struct {
	*logReader
	lines   chan fleet.LogLine
	ended   chan endOfLog
	readers sync.WaitGroup
	reading map[string]bool
	lives   map[string]time.Time // of each container: the life that was read last
	broken  map[string]bool      // containers of which a line has said that they cannot be read
}

type endOfLog struct {
	source logSource
	gave   bool // a line
	err    error
}

// follow tells each line as it is written, of the replicas that are there and of
// those that join. The channel between holds mergeWindow lines: a slow reader
// slows the reading, and costs no memory.
func (r *logReader) follow(ctx context.Context, sources []logSource) error {
	ctx, cancel := context.WithCancel(ctx)
	f := &logFollow{
		logReader: r, lines: make(chan fleet.LogLine, mergeWindow), ended: make(chan endOfLog),
		reading: map[string]bool{}, lives: map[string]time.Time{}, broken: map[string]bool{},
	}
	defer f.readers.Wait()
	defer cancel()
	tick := time.NewTicker(joinPeriod)
	defer tick.Stop()
	for {
		f.forget(sources)
		for _, source := range sources {
			if f.due(source) {
				f.begin(ctx, source)
			}
		}
		if done, err := f.tellLines(ctx, tick.C); done {
			return err
		}
		var err error
		if sources, err = r.sources(ctx); err != nil {
			return f.tellRest(ctx) // the service was removed, or the reader left
		}
	}
}

// due says whether a container has something to read that was not read: it runs,
// or has run since.
func (f *logFollow) due(source logSource) bool {
	if f.reading[source.id] {
		return false
	}
	life, read := f.lives[source.id]
	return !read || source.runs || !source.life.Equal(life)
}

// forget lets go of containers that are not there any more.
func (f *logFollow) forget(sources []logSource) {
	for id := range f.cursors {
		if !f.reading[id] && !slices.ContainsFunc(sources, func(s logSource) bool { return s.id == id }) {
			delete(f.lives, id)
			delete(f.cursors, id)
			delete(f.broken, id)
		}
	}
}

// begin follows a container from where its cursor is.
func (f *logFollow) begin(ctx context.Context, source logSource) {
	o := f.options
	o.Tail = -1 // its cursor stands behind what was told, or it joined
	cursor := f.cursor(source.id)
	f.reading[source.id] = true
	f.lives[source.id] = source.life
	f.readers.Go(func() {
		gave := false
		err := f.readOne(ctx, source, o, cursor, func(l fleet.LogLine) error {
			gave = true
			select {
			case f.lines <- l:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		select {
		case f.ended <- endOfLog{source, gave, err}:
		case <-ctx.Done():
		}
	})
}

// tellLines hands on lines until it is time to look for apps that joined.
func (f *logFollow) tellLines(ctx context.Context, look <-chan time.Time) (done bool, err error) {
	for {
		select {
		case l := <-f.lines:
			if err := f.tellTogether(ctx, l); err != nil {
				return true, err
			}
		case end := <-f.ended:
			if err := f.end(end); err != nil {
				return true, err
			}
		case <-look:
			return false, nil
		case <-ctx.Done():
			return true, nil
		}
	}
}

// tellTogether tells a line and those that come within orderPeriod, in the order of their times.
func (f *logFollow) tellTogether(ctx context.Context, first fleet.LogLine) error {
	together := []fleet.LogLine{first}
	wait := time.NewTimer(orderPeriod)
	defer wait.Stop()
	for waiting := true; waiting && len(together) < mergeWindow; {
		select {
		case l := <-f.lines:
			together = append(together, l)
		case <-wait.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	slices.SortStableFunc(together, func(x, y fleet.LogLine) int {
		return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Replica, y.Replica))
	})
	for _, l := range together {
		if err := f.tell(l); err != nil {
			return err
		}
	}
	return nil
}

// end notes that a container's logs ended: they are read again when it is
// started again, or, if they broke off, at the next look.
func (f *logFollow) end(end endOfLog) error {
	id := end.source.id
	delete(f.reading, id)
	if end.gave || end.err == nil {
		delete(f.broken, id)
	}
	if end.err == nil {
		return nil
	}
	delete(f.lives, id)
	if f.broken[id] {
		return nil
	}
	f.broken[id] = true
	f.log.Warn("Cannot follow logs", "replica", end.source.replica, "error", end.err)
	return f.tell(fleet.LogLine{Time: time.Now().UTC(), Replica: end.source.replica, Stream: fleet.StreamSpawner, Text: fmt.Sprintf("%s; trying again", end.err)})
}

// tellRest tells what was read already.
func (f *logFollow) tellRest(ctx context.Context) error {
	for {
		select {
		case l := <-f.lines:
			if err := f.tellTogether(ctx, l); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}
