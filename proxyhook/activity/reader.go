// Package activity reads the edges' own counters, to tell when a service was
// last used. It counts only what an edge counts: finished requests, and begun
// ones over TLS; an open stream is not among them. Where an edge cannot be
// read it says that nothing is known, and guesses nothing.
package activity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"edgespawner/proxyhook"
)

// The rhythm of reading.
const (
	readPeriod  = 10 * time.Second
	readTimeout = 5 * time.Second
	staleAfter  = 3 * readPeriod // a page that was not read for this long says nothing
	pageLimit   = 64 << 20       // bytes of one page
)

// The counters that are read: of requests that ended, and of those over TLS when they begin.
var counters = []string{"traefik_service_requests_total", "traefik_service_requests_tls_total"}

// Page is the Prometheus page of an edge.
type Page struct{ Edge, URL string }

// Config is what a Reader is made of.
type Config struct {
	Edges func() []Page // the pages as they are now; an edge without one is not asked
	Log   *slog.Logger  // nil = discarded
}

// Reader reads the counters of every edge.
type Reader struct {
	edges  func() []Page
	log    *slog.Logger
	client *http.Client

	reading sync.Mutex // one round of reading at a time

	mu    sync.Mutex           // guards the fields below
	pages map[string]*page     // by URL
	last  map[string]time.Time // by service: when a counter was last seen to have moved
}

// page is what was read of one edge last.
type page struct {
	edge   string
	counts map[string]float64 // by service
	readAt time.Time
	err    error // of the last attempt
}

// New makes a Reader; it starts nothing.
func New(config Config) *Reader {
	r := &Reader{
		edges: config.Edges, log: config.Log,
		client: &http.Client{Timeout: readTimeout},
		pages:  map[string]*page{}, last: map[string]time.Time{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// Run reads every edge each readPeriod until ctx ends.
func (r *Reader) Run(ctx context.Context) error {
	tick := time.NewTicker(readPeriod)
	defer tick.Stop()
	defer r.client.CloseIdleConnections()
	for {
		if err := r.Refresh(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("Cannot read an edge's counters", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Refresh reads the counters of every edge now. The error says which could not be read.
func (r *Reader) Refresh(ctx context.Context) error {
	r.reading.Lock()
	defer r.reading.Unlock()
	pages := r.edges()
	failures := make([]error, len(pages))
	var readers sync.WaitGroup
	for i, p := range pages {
		readers.Go(func() {
			counts, err := r.read(ctx, p.URL)
			if err != nil {
				failures[i] = fmt.Errorf("cannot read the counters of edge %s: %w", p.Edge, err)
			}
			r.note(p, counts, failures[i], time.Now())
		})
	}
	readers.Wait()
	r.forgetOthers(pages)
	return errors.Join(failures...)
}

// LastRequest returns when a request of the service was last seen: zero for
// never. Known is false while an edge's page could not be read.
func (r *Reader) LastRequest(service string) (at time.Time, known bool) {
	pages := r.edges()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range pages {
		seen, ok := r.pages[p.URL]
		if !ok || seen.err != nil || time.Since(seen.readAt) > staleAfter {
			return r.last[service], false
		}
	}
	return r.last[service], true
}

// note compares what was read with what was read before. A counter that went
// down began anew, with the edge or with the service's document: what it holds has been counted since.
func (r *Reader) note(p Page, counts map[string]float64, err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.pages[p.URL]
	if !known {
		before = &page{edge: p.Edge}
		r.pages[p.URL] = before
	}
	before.err = err
	if err != nil {
		return
	}
	first := before.counts == nil
	for service, count := range counts {
		if !first && count != before.counts[service] && count > 0 {
			r.last[service] = now
		}
	}
	before.counts, before.readAt = counts, now
}

// forgetOthers drops edges that are no more, and services that no edge counts.
func (r *Reader) forgetOthers(pages []Page) {
	r.mu.Lock()
	defer r.mu.Unlock()
	current := map[string]bool{}
	for _, p := range pages {
		current[p.URL] = true
	}
	counted := map[string]bool{}
	for url, p := range r.pages {
		if !current[url] {
			delete(r.pages, url)
			continue
		}
		for service := range p.counts {
			counted[service] = true
		}
	}
	for service, at := range r.last {
		if !counted[service] && time.Since(at) > 24*time.Hour {
			delete(r.last, service)
		}
	}
}

// read returns the requests that an edge has counted of each service.
func (r *Reader) read(ctx context.Context, url string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(response.Body, pageLimit))
	if err != nil {
		return nil, fmt.Errorf("cannot read the page: %w", err)
	}
	counts := map[string]float64{}
	for _, name := range counters {
		for _, metric := range families[name].GetMetric() {
			if service, ok := serviceOf(metric); ok {
				counts[service] += metric.GetCounter().GetValue()
			}
		}
	}
	return counts, nil
}

func serviceOf(metric *dto.Metric) (string, bool) {
	for _, label := range metric.GetLabel() {
		if label.GetName() == "service" {
			return proxyhook.LeafService(label.GetValue())
		}
	}
	return "", false
}
