package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"edgespawner/fleet"
)

// Logs calls line for each line of a service's logs, in time order, until
// their end, or with Follow until the service is removed, ctx ends or line
// returns an error. Following, a connection that breaks, or a spawner that is
// restarted, loses no line and tells none twice.
func (c *Client) Logs(ctx context.Context, name string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	s := &logStream{client: c, name: name, options: o, line: line, cursors: map[string]*fleet.LogCursor{}}
	if !o.Follow {
		err := s.read(ctx)
		var mine *callbackError
		if errors.As(err, &mine) {
			return mine.error
		}
		return err
	}
	removed := false
	err := follow(ctx, func() error {
		err := s.read(ctx)
		removed = s.stood && fleet.KindOf(err) == fleet.NotFound
		return err
	})
	if removed {
		return nil
	}
	return err
}

// logStream reads a service's logs over one connection after another.
type logStream struct {
	client  *Client
	name    string
	options fleet.LogOptions
	line    func(fleet.LogLine) error
	cursors map[string]*fleet.LogCursor // by replica; their clocks may differ
	stood   bool                        // a connection has stood
}

// clocks is how far the clocks of nodes may differ, at most, without a line lost
// when a connection breaks.
const clocks = time.Minute

// read reads one connection to its end.
func (s *logStream) read(ctx context.Context) error {
	query := s.query()
	body, err := s.client.open(ctx, call{method: http.MethodGet, path: []string{"api", "services", s.name, "logs"}, query: query, accept: "application/x-ndjson"})
	if err != nil {
		return err
	}
	defer body.Close()
	s.stood = true
	source := io.Reader(body)
	if s.options.Follow {
		silent := time.AfterFunc(silence, func() { _ = body.Close() }) // the read then fails
		defer silent.Stop()
		source = &heartbeat{body, silent}
	}
	return s.decode(ctx, source)
}

// heartbeat puts off the end of a silent connection whenever something comes.
type heartbeat struct {
	io.Reader
	silent *time.Timer
}

func (h *heartbeat) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.silent.Reset(silence)
	}
	return n, err
}

func (s *logStream) query() url.Values {
	o := s.options
	since := s.goOn()
	if !since.IsZero() {
		o.Tail = -1
	}
	if o.Since.After(since) {
		since = o.Since
	}
	query := url.Values{"tail": {strconv.Itoa(o.Tail)}}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if o.Follow {
		query.Set("follow", "true")
	}
	if o.Timestamps {
		query.Set("timestamps", "true")
	}
	if o.Replica != "" {
		query.Set("replica", o.Replica)
	}
	return query
}

// goOn returns from when on another connection is to tell; zero = nothing was told yet.
func (s *logStream) goOn() (from time.Time) {
	var newest time.Time
	for _, cursor := range s.cursors {
		since := cursor.Begin()
		if from.IsZero() || since.Before(from) {
			from = since
		}
		if since.After(newest) {
			newest = since
		}
	}
	if limit := newest.Add(-clocks); from.Before(limit) { // a replica that has long been silent
		from = limit
	}
	return from
}

func (s *logStream) decode(ctx context.Context, source io.Reader) error {
	decoder := json.NewDecoder(source)
	for {
		var next struct {
			fleet.LogLine
			Error *fleet.Error `json:"error"`
		}
		err := decoder.Decode(&next)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && s.options.Follow:
			return errBroken
		case err != nil:
			return fmt.Errorf("cannot read the logs of %q: %w", s.name, err)
		case next.Error != nil:
			return next.Error
		}
		if err := s.tell(next.LogLine); err != nil {
			return &callbackError{err}
		}
	}
}

// tell passes over what was told over a connection before.
func (s *logStream) tell(line fleet.LogLine) error {
	if s.options.Follow && line.Stream != fleet.StreamSpawner {
		cursor := s.cursors[line.Replica]
		if cursor == nil {
			cursor = &fleet.LogCursor{}
			s.cursors[line.Replica] = cursor
		}
		if !cursor.Take(line) {
			return nil
		}
	}
	return s.line(line)
}
