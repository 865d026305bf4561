package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
)

// maxEventLine bounds one line of an event stream.
const maxEventLine = 1 << 20

// Logs calls line for each line of a service's logs, in time order, until
// their end, or with Follow until ctx ends or line returns an error.
func (c *Client) Logs(ctx context.Context, name string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	query := url.Values{"tail": {strconv.Itoa(o.Tail)}}
	if !o.Since.IsZero() {
		query.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
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
	body, err := c.open(ctx, call{method: http.MethodGet, path: []string{"api", "services", name, "logs"}, query: query, accept: "application/x-ndjson"})
	if err != nil {
		return err
	}
	defer body.Close()
	decoder := json.NewDecoder(body)
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
		case err != nil:
			return fmt.Errorf("cannot read the logs of %q: %w", name, err)
		case next.Error != nil:
			return next.Error
		}
		if err := line(next.LogLine); err != nil {
			return err
		}
	}
}

// Events returns recorded events in ascending order.
func (c *Client) Events(ctx context.Context, filter fleet.EventFilter) (events []fleet.Event, err error) {
	err = c.get(ctx, &events, eventQuery(filter), "api", "events")
	return events, err
}

func eventQuery(filter fleet.EventFilter) url.Values {
	query := url.Values{}
	if filter.Service != "" {
		query.Set("service", filter.Service)
	}
	if filter.Type != "" {
		query.Set("type", string(filter.Type))
	}
	if !filter.Since.IsZero() {
		query.Set("since", filter.Since.UTC().Format(time.RFC3339Nano))
	}
	if filter.After > 0 {
		query.Set("after", strconv.FormatInt(filter.After, 10))
	}
	if filter.Limit > 0 {
		query.Set("limit", strconv.Itoa(filter.Limit))
	}
	return query
}

// FollowEvents calls event for each recorded event that the filter selects and
// then for each new one, until ctx ends or event returns an error. When the
// connection breaks it goes on after the last event seen, none twice and none missed.
func (c *Client) FollowEvents(ctx context.Context, filter fleet.EventFilter, event func(fleet.Event) error) error {
	wait := retryWaitMin
	heard := time.Now()
	for {
		last := filter.After
		err := c.streamEvents(ctx, &filter, event)
		if filter.After > last {
			wait, heard = retryWaitMin, time.Now()
		}
		var refused *fleet.Error
		var mine *callbackError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &mine):
			return mine.error
		case errors.As(err, &refused) && refused.Kind != fleet.Unavailable:
			return err
		case err == nil:
			heard = time.Now() // the spawner ended a stream that stood
		case time.Since(heard) > waitAway:
			return err
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// callbackError is an error of the caller's own function.
type callbackError struct{ error }

// streamEvents follows one connection; it sets filter.After as events come in.
func (c *Client) streamEvents(ctx context.Context, filter *fleet.EventFilter, event func(fleet.Event) error) error {
	query := eventQuery(*filter)
	query.Set("follow", "true")
	k := call{method: http.MethodGet, path: []string{"api", "events"}, query: query, accept: "text/event-stream"}
	if filter.After > 0 {
		k.lastID = strconv.FormatInt(filter.After, 10)
	}
	body, err := c.open(ctx, k)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEventLine)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue // id repeats what data says; comments keep the connection alive
		}
		var next fleet.Event
		if err := json.Unmarshal([]byte(strings.TrimSpace(data)), &next); err != nil {
			return fmt.Errorf("cannot read an event: %w", err)
		}
		filter.After = next.ID
		if err := event(next); err != nil {
			return &callbackError{err}
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("cannot read an event: %w", lines.Err())
	}
	return nil // a broken stream is one that ended
}
