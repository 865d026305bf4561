package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"edgespawner/fleet"
)

// keepAlive is the pause after which a stream without events sends a comment,
// so that nothing in between takes it for dead.
const keepAlive = 15 * time.Second

func readEventFilter(r *request) (f fleet.EventFilter, err error) {
	f.Service, f.Type = r.query.Get("service"), fleet.EventType(r.query.Get("type"))
	if f.Since, err = r.since(); err != nil {
		return f, err
	}
	if f.After, err = r.number("after", 0, 0, math.MaxInt64); err != nil {
		return f, err
	}
	limit, err := r.number("limit", 0, 1, maxListed)
	f.Limit = int(limit)
	return f, err
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
// the client leaves or is too slow; it then connects again and goes on after Last-Event-ID.
func (a *API) followEvents(w http.ResponseWriter, r *request, f fleet.EventFilter) error {
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		last, err := strconv.ParseInt(text, 10, 64)
		if err != nil || last < 0 {
			return fleet.InvalidField("Last-Event-ID", "%q is not the id of an event", text)
		}
		f.After = last
	}
	events := a.config.Records.FollowEvents(r.Context(), f)
	out := newStream(w)
	defer out.end()
	out.begin(eventStream)
	if out.write([]byte("retry: 1000\n\n")) != nil || out.flush() != nil {
		return nil
	}
	pause := time.NewTicker(keepAlive)
	defer pause.Stop()
	for {
		var message []byte
		select {
		case event, open := <-events:
			if !open {
				return nil
			}
			message = sseMessage(event)
		case <-pause.C:
			message = []byte(": keep-alive\n\n")
		case <-r.Context().Done():
			return nil
		}
		if out.write(message) != nil {
			return nil
		}
		if len(events) == 0 && out.flush() != nil {
			return nil
		}
	}
}

func sseMessage(event fleet.Event) []byte {
	data, _ := json.Marshal(event) // strings, a number and a time: it cannot fail
	return fmt.Appendf(nil, "id: %d\ndata: %s\n\n", event.ID, data)
}
