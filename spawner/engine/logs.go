package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"edgespawner/fleet"
)

// mergeWindow is how many lines of each replica are kept to put the lines of
// several into the order of their times.
const mergeWindow = 256

// logSource is one container whose lines are read.
type logSource struct{ node, id, replica string }

// Logs calls line for each line of the service's replicas, in the order of
// their times. Following, lines come as they are written, and replicas that
// join later are followed too. An error of line ends it and is returned.
func (e *Engine) Logs(ctx context.Context, name string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	a, ok := e.actor(name)
	if !ok {
		return unknown(name)
	}
	sources, err := a.logSources(ctx, o.Replica)
	if err != nil {
		return err
	}
	if o.Replica != "" && len(sources) == 0 {
		return fleet.InvalidField("replica", "%s has no replica %q", name, o.Replica)
	}
	if o.Follow {
		return e.followLogs(ctx, a, o, line)
	}
	return e.mergeLogs(ctx, sources, o, line)
}

func (a *actor) logSources(ctx context.Context, only string) (list []logSource, err error) {
	err = a.call(ctx, func() {
		for _, r := range a.replicas {
			v := r.look()
			if v.app.id == "" || only != "" && only != r.name() && only != r.containerName() {
				continue
			}
			list = append(list, logSource{r.node, v.app.id, r.containerName()})
		}
	})
	return list, err
}

// mergeLogs reads every source at once and always tells the oldest line next.
func (e *Engine) mergeLogs(ctx context.Context, sources []logSource, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heads := make([]*logHead, len(sources))
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel() // before the wait: a reader whose lines nobody takes ends with ctx
	for i, source := range sources {
		head := &logHead{lines: make(chan fleet.LogLine, mergeWindow)}
		heads[i] = head
		readers.Go(func() {
			defer close(head.lines)
			head.err = e.readLogs(ctx, source, o, head.lines)
		})
	}
	var window []fleet.LogLine
	for {
		oldest, err := oldestOf(heads)
		if err != nil {
			return err
		}
		if oldest == nil {
			break
		}
		if o.Tail >= 0 { // the last lines of all together: of each no more than Tail were read
			window = append(window, oldest.take())
			if len(window) > o.Tail {
				window = window[1:]
			}
			continue
		}
		if err := line(oldest.take()); err != nil {
			return err
		}
	}
	for _, l := range window {
		if err := line(l); err != nil {
			return err
		}
	}
	return nil
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

// oldestOf returns the head with the oldest line; nil when all have ended.
func oldestOf(heads []*logHead) (*logHead, error) {
	for _, h := range heads {
		if h.next != nil {
			continue
		}
		if l, ok := <-h.lines; ok {
			h.next = &l
		} else if h.err != nil {
			return nil, h.err
		}
	}
	live := slices.DeleteFunc(slices.Clone(heads), func(h *logHead) bool { return h.next == nil })
	if len(live) == 0 {
		return nil, nil
	}
	return slices.MinFunc(live, func(x, y *logHead) int {
		return cmp.Or(x.next.Time.Compare(y.next.Time), cmp.Compare(x.next.Replica, y.next.Replica))
	}), nil
}

func (e *Engine) readLogs(ctx context.Context, source logSource, o fleet.LogOptions, into chan<- fleet.LogLine) error {
	err := e.shell.Logs(ctx, source.node, source.id, o, func(l fleet.LogLine) error {
		l.Replica = source.replica
		select {
		case into <- l:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if ctx.Err() != nil || err != nil && fleet.KindOf(err) == fleet.NotFound {
		return nil // the reader left, or the container went: what it said has been told
	}
	if err != nil {
		return fmt.Errorf("cannot read the logs of %s: %w", source.replica, err)
	}
	return nil
}
