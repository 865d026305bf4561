package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"edgespawner/fleet"
)

// logSource is one container whose lines are read.
type logSource struct {
	node, id, replica string
	runs              bool
	life              time.Time // when its app was started last, by the engine's clock
}

// logReader reads the lines of several containers as one.
type logReader struct {
	// read is Shell.Logs.
	read    func(ctx context.Context, node, id string, o fleet.LogOptions, line func(fleet.LogLine) error) error
	sources func(ctx context.Context) ([]logSource, error) // what there is now
	options fleet.LogOptions
	tell    func(fleet.LogLine) error // an error of it ends the reading
	log     *slog.Logger
	cursors map[string]*fleet.LogCursor // by container id: how far each was read
}

// Logs calls line for each line of the service's replicas, in the order of
// their times; those that a rollout keeps until it has ended are replicas too.
// Following, lines come as they are written, and replicas that join later are
// followed too. An error of line ends it and is returned. A replica whose logs
// cannot be read does not keep back those of the others: following, a line of
// stream "spawner" says so; else the error that is returned at the end.
func (e *Engine) Logs(ctx context.Context, name string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	a, ok := e.actor(name)
	if !ok {
		return unknown(name)
	}
	r := &logReader{
		read: e.shell.Logs, options: o, tell: line, log: a.log, cursors: map[string]*fleet.LogCursor{},
		sources: func(ctx context.Context) ([]logSource, error) { return a.logSources(ctx, o.Replica) },
	}
	sources, err := r.sources(ctx)
	if err != nil {
		return err
	}
	if o.Replica != "" && len(sources) == 0 {
		return fleet.InvalidField("replica", "%s has no replica %q", name, o.Replica)
	}
	err = r.tellPast(ctx, sources)
	var mine *readerError
	switch {
	case errors.As(err, &mine):
		return mine.cause
	case o.Follow:
		return r.follow(ctx, sources) // which says itself what cannot be read
	}
	return err
}

func (a *actor) logSources(ctx context.Context, only string) (list []logSource, err error) {
	err = a.call(ctx, func() {
		for _, r := range slices.Concat(a.replicas, a.extra) {
			v := r.look()
			if v.app.id == "" || only != "" && only != r.name() && only != r.containerName() {
				continue
			}
			list = append(list, logSource{r.node, v.app.id, r.containerName(), v.runs() || v.state == statePaused, r.beganAt()})
		}
	})
	return list, err
}

func (r *replica) beganAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.startedAt
}

// readerError is an error of whoever is told the lines, not of a container's logs.
type readerError struct{ cause error }

func (e *readerError) Error() string { return e.cause.Error() }

// readOne reads a container's lines that its cursor does not know yet.
func (r *logReader) readOne(ctx context.Context, source logSource, o fleet.LogOptions, cursor *fleet.LogCursor, line func(fleet.LogLine) error) error {
	if since := cursor.Begin(); since.After(o.Since) {
		o.Since = since
	}
	err := r.read(ctx, source.node, source.id, o, func(l fleet.LogLine) error {
		l.Replica = source.replica
		if !cursor.Take(l) {
			return nil
		}
		return line(l)
	})
	if ctx.Err() != nil || err != nil && fleet.KindOf(err) == fleet.NotFound {
		return nil // the reader left, or the container went: what it said has been told
	}
	if err != nil {
		return fmt.Errorf("cannot read the logs of %s: %w", source.replica, err)
	}
	return nil
}

// cursor returns that of a container.
func (r *logReader) cursor(id string) *fleet.LogCursor {
	if r.cursors[id] == nil {
		r.cursors[id] = &fleet.LogCursor{}
	}
	return r.cursors[id]
}
