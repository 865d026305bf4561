package activity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// Period is the time between two looks at every edge.
	Period = 10 * time.Second
	// freshness is how old the last look at an edge may be: two are missed.
	freshness     = 25 * time.Second
	scrapeTimeout = 5 * time.Second
	rememberFor   = 24 * time.Hour
	maxPage       = 64 << 20
)

// Page is the Prometheus page of an edge.
type Page struct {
	Edge string // its name
	URL  string // empty = unknown, so that nobody can ask this edge
}

// Config is what a Reader is made of.
type Config struct {
	Edges func() []Page // of the edges that count now, lost ones left out
	Log   *slog.Logger  // nil = discarded
}

// Reader reads the pages of the edges.
type Reader struct {
	edges  func() []Page
	log    *slog.Logger
	client *http.Client

	refreshing sync.Mutex // one round at a time

	mu    sync.Mutex
	pages map[string]*page     // by the edge's name
	last  map[string]time.Time // by service: when a request was last seen
}

// page is what is known of one edge. It is guarded by Reader.mu.
type page struct {
	url     string
	counts  map[series]float64 // nil = not read yet
	readAt  time.Time          // of the last look that succeeded
	failure string             // of the last look; empty = it succeeded
}

// New makes a Reader; it starts nothing.
func New(config Config) *Reader {
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Reader{
		edges: config.Edges, log: log, client: &http.Client{Timeout: scrapeTimeout},
		pages: map[string]*page{}, last: map[string]time.Time{},
	}
}

// Run looks at every edge again and again until ctx ends.
func (r *Reader) Run(ctx context.Context) error {
	tick := time.NewTicker(Period)
	defer tick.Stop()
	defer r.client.CloseIdleConnections()
	for {
		// What fails is logged when it begins, and makes LastRequest unknown.
		_ = r.Refresh(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Refresh looks at every edge now. The error joins those of the edges that could not be asked.
func (r *Reader) Refresh(ctx context.Context) error {
	r.refreshing.Lock()
	defer r.refreshing.Unlock()
	edges := r.edges()
	r.forget(edges)
	failures := make([]error, len(edges))
	var looking sync.WaitGroup
	for i, edge := range edges {
		looking.Go(func() { failures[i] = r.look(ctx, edge) })
	}
	looking.Wait()
	return errors.Join(failures...)
}

// forget drops what is known of edges that do not count any more, and of
// services that nobody has counted for a day.
func (r *Reader) forget(edges []Page) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counted := map[string]bool{}
	for name, p := range r.pages {
		if !slices.ContainsFunc(edges, func(e Page) bool { return e.Edge == name }) {
			delete(r.pages, name)
		}
		for key := range p.counts {
			counted[key.service] = true
		}
	}
	for service, at := range r.last {
		if !counted[service] && time.Since(at) > rememberFor {
			delete(r.last, service)
		}
	}
}

// look reads the page of one edge.
func (r *Reader) look(ctx context.Context, edge Page) error {
	counts, err := r.scrape(ctx, edge.URL)
	if err != nil {
		err = fmt.Errorf("cannot read the counters of edge %s: %w", edge.Edge, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[edge.Edge]
	if p == nil || p.url != edge.URL {
		p = &page{url: edge.URL}
		r.pages[edge.Edge] = p
	}
	if err != nil {
		if p.failure == "" && ctx.Err() == nil {
			r.log.Warn("Cannot read the counters of an edge", "edge", edge.Edge, "error", err)
		}
		p.failure = err.Error()
		return err
	}
	if p.failure != "" {
		r.log.Info("Read the counters of an edge again", "edge", edge.Edge)
	}
	r.noteLocked(p, counts, time.Now())
	return nil
}

// noteLocked compares what was read with what was read before. All that an edge
// has counted before the first look may have been a moment ago.
func (r *Reader) noteLocked(p *page, counts map[series]float64, now time.Time) {
	for key, count := range counts {
		if count > 0 && count != p.counts[key] {
			r.last[key.service] = now
		}
	}
	p.counts, p.readAt, p.failure = counts, now, ""
}

// scrape reads one page.
func (r *Reader) scrape(ctx context.Context, address string) (map[series]float64, error) {
	if address == "" {
		return nil, errors.New("no URL of its Prometheus page is known")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	// Traefik keeps the text format for whoever does not ask for another.
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("its page answers with status %d", response.StatusCode)
	}
	return readPage(io.LimitReader(response.Body, maxPage))
}

// LastRequest returns when a request of the service was last seen, at most a
// period after it was counted; zero = never since the edges began to count.
// Known is false while an edge cannot be asked: then nobody may conclude
// idleness. Without any edge nothing comes through one, and that is known.
func (r *Reader) LastRequest(service string) (at time.Time, known bool) {
	edges := r.edges()
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, edge := range edges {
		p := r.pages[edge.Edge]
		if p == nil || p.url != edge.URL || p.failure != "" || now.Sub(p.readAt) > freshness {
			return r.last[service], false
		}
	}
	return r.last[service], true
}

// Problem says why LastRequest is not known; empty = it is.
func (r *Reader) Problem() string {
	edges := r.edges()
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, edge := range edges {
		switch p := r.pages[edge.Edge]; {
		case p == nil || (p.failure == "" && p.counts == nil):
			list = append(list, "the counters of edge "+edge.Edge+" have not been read yet")
		case p.failure != "":
			list = append(list, p.failure)
		}
	}
	return strings.Join(list, "; ")
}
