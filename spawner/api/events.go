package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
)

// keepAlive is the pause after which a stream without events sends a comment,
// so that nothing in between takes it for dead.
const keepAlive = 15 * time.Second

func readEventFilter(r *request) (f fleet.EventFilter, err error) {
	f.Service, f.Container = r.query.Get("service"), r.query.Get("replica")
	f.Node, f.By = r.query.Get("node"), r.query.Get("by")
	if f.Types, err = eventTypes("type", r.query.Get("type")); err != nil {
		return f, err
	}
	if f.Since, err = r.moment("since"); err != nil {
		return f, err
	}
	if f.Until, err = r.moment("until"); err != nil {
		return f, err
	}
	if f.After, err = r.number("after", 0, 0, math.MaxInt64); err != nil {
		return f, err
	}
	if f.After == 0 && r.query.Get("after") != "" {
		f.After = -1 // from the first on
	}
	if f.Before, err = r.number("before", 0, 1, math.MaxInt64); err != nil {
		return f, err
	}
	limit, err := r.number("limit", 0, 1, maxListed)
	f.Limit = int(limit)
	return f, err
}

// eventTypes reads types with commas between; each must be one that there is.
func eventTypes(field, text string) (types []fleet.EventType, err error) {
	if text == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		one := fleet.EventType(strings.TrimSpace(word))
		if !slices.Contains(fleet.EventTypes(), one) {
			return nil, fleet.InvalidField(field, "%q is not one of %s", one, fleet.EventTypeList())
		}
		types = append(types, one)
	}
	return types, nil
}

// events answers a list, or a stream to those who accept one or ask to follow.
func (a *API) events(w http.ResponseWriter, r *request) error {
	f, err := readEventFilter(r)
	if err != nil {
		return err
	}
	follow, err := r.flag("follow")
	if err != nil {
		return err
	}
	if follow || accepts(r.Request, eventStream) {
		return a.followEvents(w, r, f)
	}
	events, err := a.config.Records.Events(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(events))
}

// followEvents streams events (HTML Living Standard, server-sent events) until
// the client leaves or stops reading. Its first id is the one that the stream
// begins after, so that whoever loses the connection before the first event
// goes on, by Last-Event-ID, without missing one.
func (a *API) followEvents(w http.ResponseWriter, r *request, f fleet.EventFilter) error {
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		last, err := strconv.ParseInt(text, 10, 64)
		if err != nil || last < 0 {
			return fleet.InvalidField("Last-Event-ID", "%q is not the id of an event", text)
		}
		if f.After = last; last == 0 {
			f.After = -1
		}
	}
	from, events, err := a.config.Records.FollowEvents(r.Context(), f)
	if err != nil {
		return err
	}
	out := newStream(w)
	defer out.end()
	out.begin(eventStream)
	if out.write(fmt.Appendf(nil, "retry: 1000\nid: %d\n\n", from)) != nil || out.flush() != nil {
		return nil
	}
	return out.tellEvents(r.Context(), events)
}

// tellEvents writes events as they come, and comments while none does. Events
// that are there already are sent together.
func (s *stream) tellEvents(ctx context.Context, events <-chan fleet.Event) error {
	pause := time.NewTicker(keepAlive)
	defer pause.Stop()
	for {
		select {
		case event, open := <-events:
			if !open {
				return nil
			}
			if s.write(sseMessage(event)) != nil || !s.tellReady(events) || s.flush() != nil {
				return nil
			}
		case <-pause.C:
			if s.write([]byte(": keep-alive\n\n")) != nil || s.flush() != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// tellReady writes the events that need not be waited for; false = there are no more to come.
func (s *stream) tellReady(events <-chan fleet.Event) bool {
	for {
		select {
		case event, open := <-events:
			if !open || s.write(sseMessage(event)) != nil {
				return false
			}
		default:
			return true
		}
	}
}

// sseMessage writes an event. One of type gap is named, so that a browser's
// onmessage is not given it as something that happened.
func sseMessage(event fleet.Event) []byte {
	data, _ := json.Marshal(event) // strings, a number and a time: it cannot fail
	name := ""
	if event.Type == fleet.EventGap {
		name = "event: gap\n"
	}
	return fmt.Appendf(nil, "id: %d\n%sdata: %s\n\n", event.ID, name, data)
}
