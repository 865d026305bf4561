package stand

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load describes open-loop traffic: a request begins at its time, whether or
// not the ones before have been answered. Zero fields have the values that
// DESIGN §6 asks for.
type Load struct {
	Host  string
	Edge  *Edge         // nil = the stand's first one
	Rate  int           // requests a second; 0 = 200
	Limit time.Duration // a client's patience; 0 = 5 s; Held where a time comes in which no replica runs
	Posts int           // every Posts-th request posts an id; 0 = 4, negative = none
	Path  string        // of GETs; empty = /
	// Collector receives the ids from the app; nil = what was executed is not compared.
	Collector *Collector
}

// Held is a client's patience where requests are held until a replica runs (DESIGN §6).
const Held = 30 * time.Second

// Traffic is a load under way.
type Traffic struct {
	t      T
	load   Load
	number int64 // of this load among those of the process: no two post the same id
	cancel context.CancelFunc
	done   chan struct{} // closes when the last request has ended

	mu     sync.Mutex
	report Report // guarded by mu
}

// loads counts them.
var loads atomic.Int64

// StartLoad begins traffic that lasts until Stop.
func (s *Stand) StartLoad(load Load) *Traffic {
	s.t.Helper()
	if load.Rate == 0 {
		load.Rate = 200
	}
	if load.Limit == 0 {
		load.Limit = 5 * time.Second
	}
	if load.Posts == 0 {
		load.Posts = 4
	}
	if load.Path == "" {
		load.Path = "/"
	}
	if load.Edge == nil {
		load.Edge = s.Edges[0]
	}
	ctx, cancel := context.WithCancel(context.Background())
	traffic := &Traffic{t: s.t, load: load, number: loads.Add(1), cancel: cancel, done: make(chan struct{})}
	go traffic.run(ctx)
	s.t.Cleanup(func() { traffic.end() })
	return traffic
}

// Stop ends the traffic, waits for the answers that are still owed, and reports.
func (l *Traffic) Stop() Report {
	l.t.Helper()
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	report := l.report
	if l.load.Collector != nil {
		report.compare(l.load.Collector)
	}
	l.t.Logf("traffic: %s", report)
	return report
}

// SoFar reports on the answers until now.
func (l *Traffic) SoFar() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report
}

func (l *Traffic) end() {
	l.cancel()
	<-l.done
}

func (l *Traffic) run(ctx context.Context) {
	defer close(l.done)
	keeping, fresh := l.load.Edge.Transport(), l.load.Edge.Transport()
	fresh.DisableKeepAlives = true
	defer keeping.CloseIdleConnections()
	defer fresh.CloseIdleConnections()
	var requests sync.WaitGroup
	defer requests.Wait()
	ticker := time.NewTicker(time.Second / time.Duration(l.load.Rate))
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		transport := keeping
		if n%2 == 1 {
			transport = fresh
		}
		id := ""
		// The quotient alternates, so that posts come on both kinds of connection.
		if l.load.Posts > 0 && (n/2)%l.load.Posts == 0 {
			id = fmt.Sprintf("%s-%d-%d", l.load.Host, l.number, n)
		}
		requests.Go(func() { l.add(l.ask(transport, id)) })
	}
}

// ask sends one request: a GET, or with an id a POST of it.
func (l *Traffic) ask(transport http.RoundTripper, id string) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), l.load.Limit)
	defer cancel()
	method, path, body := http.MethodGet, l.load.Path, ""
	if id != "" {
		method, path, body = http.MethodPost, "/ids", id
	}
	o := outcome{method: method, id: id, began: time.Now()}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+l.load.Host+path, strings.NewReader(body))
	if err != nil {
		o.err = err
		return o
	}
	response, err := transport.RoundTrip(request)
	if err == nil {
		o.status, o.retryAfter = response.StatusCode, response.Header.Get("Retry-After")
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	o.err, o.took = err, time.Since(o.began)
	return o
}

func (l *Traffic) add(o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.add(o)
}
