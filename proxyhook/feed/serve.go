package feed

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
)

type connectionKey struct{}

// ConnContext gives each connection of the server its own memory of what it was
// served. It belongs into http.Server.ConnContext of the server that serves the feed.
func (f *Feed) ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

// ServeHTTP answers GET /traefik/config?edge=NAME: at once with a document that
// this connection has not got yet, else with the same one after half a second.
// It never answers 200 without a document, since that would wipe every route.
// Who may ask is not its business; the document holds the edges' secret.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, http.StatusMethodNotAllowed, fleet.Errorf(fleet.Invalid, "the method is GET"))
		return
	}
	name := r.URL.Query().Get("edge")
	if !edgeName.MatchString(name) {
		refuse(w, http.StatusBadRequest, fleet.InvalidField("edge", "the edge says its name: ?edge=NAME, letters, digits, dots and dashes"))
		return
	}
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		c = &connection{}
	}
	o, err := f.poll(r.Context(), name, c)
	if err != nil {
		status := fleet.KindOf(err).HTTPStatus()
		if r.Context().Err() != nil { // the edge has left, or this server ends and the edge still reads
			status = http.StatusServiceUnavailable
		}
		refuse(w, status, err)
		return
	}
	write(w, r, o)
	f.mu.Lock()
	c.answeredAt = time.Now()
	f.unlock()
}

// poll waits for what the edge is to get on that connection. The error is of
// kind Unavailable while there is no document, Busy for too many edges, or ctx's.
func (f *Feed) poll(ctx context.Context, name string, c *connection) (*offer, error) {
	f.mu.Lock()
	defer f.unlock()
	if f.edges[name] == nil && len(f.edges) >= maxEdges {
		return nil, fleet.Errorf(fleet.Busy, "%d edges are known already", maxEdges)
	}
	e := f.edgeLocked(name)
	f.seenLocked(e, c, time.Now())
	c.polls++
	defer func() { c.polls-- }()

	hold := time.NewTimer(holdTime)
	defer hold.Stop()
	loading := time.NewTimer(loadTime)
	defer loading.Stop()
	held := false
	for e.current == nil || (c.served == e.current && !held) {
		fresh := e.fresh
		f.unlock()
		var err error
		select {
		case <-fresh:
		case <-hold.C:
			held = true
		case <-loading.C:
			err = fleet.Errorf(fleet.Unavailable, "the state of the services is not loaded yet")
		case <-ctx.Done():
			err = ctx.Err()
		}
		f.mu.Lock()
		if err != nil {
			if ctx.Err() != nil {
				delete(e.connections, c)
				f.progressLocked()
			}
			return nil, err
		}
	}
	f.serveLocked(e, c)
	return e.current, nil
}

// serveLocked notes that the connection gets the current offer.
func (f *Feed) serveLocked(e *edge, c *connection) {
	o := e.current
	now := time.Now()
	again := c.served == o
	e.seenAt, c.served, c.answeredAt = now, o, now
	if again {
		return
	}
	o.servedAt, o.receivedAt, o.late = now, time.Time{}, false
	if e.lastServed() != o {
		e.history = append(e.history, o)
	}
	if len(e.history) > maxHistory {
		e.history = slices.Delete(e.history, 0, len(e.history)-maxHistory)
	}
	e.wakePoints()
}

func write(w http.ResponseWriter, r *http.Request, o *offer) {
	body := o.body
	header := w.Header()
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body = o.gzip()
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept-Encoding")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	// An error here is the edge's: it comes again.
	_, _ = w.Write(body)
}

// refuse answers an error; Unavailable without a body, so that Traefik, which
// does not read it, keeps its connection.
func refuse(w http.ResponseWriter, status int, err error) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]error{"error": err})
}
