package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
)

const maxEventLine = 1 << 20 // of an event stream, in bytes

// Events returns recorded events in ascending order.
func (c *Client) Events(ctx context.Context, filter fleet.EventFilter) (events []fleet.Event, err error) {
	err = c.get(ctx, &events, eventQuery(filter), "api", "events")
	return events, err
}

func eventQuery(filter fleet.EventFilter) url.Values {
	query := url.Values{}
	set := func(needed bool, name, value string) {
		if needed {
			query.Set(name, value)
		}
	}
	words := make([]string, len(filter.Types))
	for i, one := range filter.Types {
		words[i] = string(one)
	}
	set(filter.Service != "", "service", filter.Service)
	set(filter.Container != "", "replica", filter.Container)
	set(filter.Node != "", "node", filter.Node)
	set(filter.By != "", "by", filter.By)
	set(len(words) > 0, "type", strings.Join(words, ","))
	set(!filter.Since.IsZero(), "since", filter.Since.UTC().Format(time.RFC3339Nano))
	set(!filter.Until.IsZero(), "until", filter.Until.UTC().Format(time.RFC3339Nano))
	set(filter.After != 0, "after", strconv.FormatInt(max(0, filter.After), 10))
	set(filter.Before != 0, "before", strconv.FormatInt(filter.Before, 10))
	set(filter.Limit > 0, "limit", strconv.Itoa(filter.Limit))
	return query
}

// FollowEvents calls event for each recorded event that the filter asks for and
// then for each new one, until ctx ends or event returns an error. When the
// connection breaks it goes on after the last event seen, none twice and none
// missed; an event of type gap says which ones are no longer kept.
func (c *Client) FollowEvents(ctx context.Context, filter fleet.EventFilter, event func(fleet.Event) error) error {
	s := &eventStream{client: c, filter: filter, event: event}
	if filter.After > 0 {
		s.last = strconv.FormatInt(filter.After, 10)
	}
	return follow(ctx, func() error { return s.read(ctx) })
}

// eventStream reads server-sent events over one connection after another.
type eventStream struct {
	client *Client
	filter fleet.EventFilter
	event  func(fleet.Event) error
	last   string // the last id that was told; empty = none yet
}

// read reads one connection to its end; a broken one is nil, as one that ended.
func (s *eventStream) read(ctx context.Context) error {
	query := eventQuery(s.filter)
	query.Set("follow", "true")
	k := call{method: http.MethodGet, path: []string{"api", "events"}, query: query, accept: "text/event-stream", lastID: s.last}
	body, err := s.client.open(ctx, k)
	if err != nil {
		return err
	}
	defer body.Close()
	silent := time.AfterFunc(silence, func() { _ = body.Close() }) // the read then fails
	defer silent.Stop()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEventLine)
	id, data := "", ""
	for lines.Scan() {
		silent.Reset(silence)
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "data":
			data += value
		case "": // the end of an event, or a comment
			if lines.Text() != "" {
				continue
			}
			if err := s.dispatch(id, data); err != nil {
				return err
			}
			id, data = "", ""
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("cannot read an event: %w", lines.Err())
	}
	return nil
}

// dispatch takes one whole message: the id alone says where the stream begins.
func (s *eventStream) dispatch(id, data string) error {
	if data != "" {
		var next fleet.Event
		if err := json.Unmarshal([]byte(data), &next); err != nil {
			return fmt.Errorf("cannot read an event: %w", err)
		}
		if err := s.event(next); err != nil {
			return &callbackError{err}
		}
	}
	if id != "" {
		s.last = id
	}
	return nil
}
