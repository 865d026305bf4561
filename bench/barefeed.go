package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"edgespawner/test/stand"
)

// headerConfig is the header by which a probe router tells which document it stands in.
const headerConfig = "X-Spawner-Config"

// bareFeedTime is how long an edge may take for a document.
const bareFeedTime = 30 * time.Second

var (
	probeMark = regexp.MustCompile(`"` + headerConfig + `":"[0-9a-f]{64}"`)
	probeRule = regexp.MustCompile("Host\\(`([^`]+)`\\)")
)

// bareFeed hands documents to an edge of its own as fast as an edge can take
// them: each is a copy of one of the spawner's, with another mark on its probe routers.
type bareFeed struct {
	b        *bench
	edge     *stand.Edge
	template []byte // a document of the spawner's
	host     string // of its probe routers
	count    int
	served   sync.Map // by the connection's address: the document that it got last

	mu    sync.Mutex
	body  []byte        // what polls get; guarded by mu
	fresh chan struct{} // closed when body is replaced; guarded by mu
}

// newBareFeed starts the feed and its edge.
func (b *bench) newBareFeed(s *stand.Stand) *bareFeed {
	f := &bareFeed{b: b, fresh: make(chan struct{})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatalf("cannot listen for the bare feed: %v", err)
	}
	server := &http.Server{Handler: f}
	go func() { _ = server.Serve(listener) }() // it returns when it is closed, below
	b.Cleanup(func() { server.Close() })
	f.take(b.documentOf(s.Edges[0]))
	f.edge = s.BareEdge("bare", "http://"+listener.Addr().String())
	return f
}

// take makes the following documents copies of this one.
func (f *bareFeed) take(document []byte) {
	var read struct {
		HTTP struct {
			Routers map[string]struct{ Rule string }
		}
	}
	if err := json.Unmarshal(document, &read); err != nil {
		f.b.Fatalf("cannot read the document: %v", err)
	}
	for name, router := range read.HTTP.Routers {
		if rule := probeRule.FindStringSubmatch(router.Rule); strings.Contains(name, "~probe-") && rule != nil {
			f.host = rule[1]
		}
	}
	if f.host == "" || !probeMark.Match(document) {
		f.b.Fatalf("the document has no probe router")
	}
	f.template = document
	f.offer(f.next())
}

// next makes a document that differs from the one before.
func (f *bareFeed) next() (body []byte, mark string) {
	f.count++
	mark = fmt.Sprintf("%064x", f.count)
	return probeMark.ReplaceAll(f.template, fmt.Appendf(nil, `"%s":"%s"`, headerConfig, mark)), mark
}

func (f *bareFeed) offer(body []byte, _ string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.body = body
	close(f.fresh)
	f.fresh = make(chan struct{})
}

// change offers a new document and returns how long the edge took until it was
// in force on both entry points.
func (f *bareFeed) change() time.Duration {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: f.host}}
	defer transport.CloseIdleConnections()
	urls := []string{f.edge.URL, f.edge.TLSURL}
	for _, url := range urls { // the connections stand before the clock starts
		f.asks(transport, url)
	}
	body, mark := f.next()
	began := time.Now()
	f.offer(body, mark)
	for _, url := range urls {
		for f.asks(transport, url) != mark {
			if time.Since(began) > bareFeedTime {
				f.b.Fatalf("the bare edge has not taken a document within %s", bareFeedTime)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return time.Since(began)
}

// asks returns the mark of the document that is in force.
func (f *bareFeed) asks(transport *http.Transport, url string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		f.b.Fatalf("cannot make a request: %v", err)
	}
	request.Host = f.host
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err.Error()
	}
	response.Body.Close()
	return response.Header.Get(headerConfig)
}

// ServeHTTP answers a poll as the spawner's feed does: at once with what the
// edge does not have, else after half a second with the same.
func (f *bareFeed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	connection := r.RemoteAddr
	body, fresh := f.current()
	if last, ok := f.served.Load(connection); ok && bytes.Equal(last.([]byte), body) {
		select {
		case <-fresh:
		case <-time.After(500 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
		body, _ = f.current()
	}
	f.served.Store(connection, body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // an error is the edge's, which comes again
}

func (f *bareFeed) current() ([]byte, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.body, f.fresh
}
