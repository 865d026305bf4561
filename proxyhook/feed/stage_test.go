package feed

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
)

const probeHost = "probe.invalid"

// page is what stands in a document of the tests.
type page struct {
	Hash     string            `json:"hash"`
	Services map[string]string `json:"services"`
	ACME     []string          `json:"acme,omitempty"` // services whose certificates are ordered
}

// draw renders a page.
func draw(_ proxyhook.Settings, snapshot *fleet.Snapshot, v proxyhook.View) (*proxyhook.Document, error) {
	p := page{Services: map[string]string{}}
	for _, r := range snapshot.Services {
		if v.LeftOut[r.Name] {
			continue
		}
		text := fmt.Sprintf("%s r%d", r.Spec.Image, r.Revision)
		for _, endpoint := range r.Endpoints {
			text += " " + endpoint.Addr.String()
		}
		p.Services[r.Name] = text
		if v.ACME && !v.WithoutResolver[r.Name] && r.Spec.Route != nil && r.Spec.Route.TLS {
			p.ACME = append(p.ACME, r.Name)
		}
	}
	data, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	p.Hash = hex.EncodeToString(sum[:])
	data, err = json.Marshal(p)
	return &proxyhook.Document{JSON: data, Hash: p.Hash}, err
}

// stage is a feed on a network of its own.
type stage struct {
	t      *testing.T
	feed   *Feed
	ctx    context.Context
	events chan fleet.Event

	mu        sync.Mutex
	listeners map[string]*pipes
	snapshot  fleet.Snapshot
}

// open starts a feed. Everything ends with the test.
func open(t *testing.T, config Config) *stage {
	t.Helper()
	s := &stage{t: t, events: make(chan fleet.Event, 1000), listeners: map[string]*pipes{}}
	config.Settings.ProbeHost = probeHost
	config.Render = draw
	config.Events = func(e fleet.Event) { s.events <- e }
	config.dial = s.dial
	s.feed = New(config)
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	server := &http.Server{Handler: s.feed, ConnContext: s.feed.ConnContext}
	s.serve("spawner:80", server)
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.feed.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return s
}

// serve gives a server an address on the stage's network.
func (s *stage) serve(address string, server *http.Server) {
	p := &pipes{connections: make(chan net.Conn), done: make(chan struct{})}
	s.mu.Lock()
	s.listeners[address] = p
	s.mu.Unlock()
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(p) })
	s.t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
}

func (s *stage) hangUp(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, address)
}

func (s *stage) dial(ctx context.Context, _, address string) (net.Conn, error) {
	s.mu.Lock()
	p := s.listeners[address]
	s.mu.Unlock()
	if p == nil {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	select {
	case p.connections <- far:
		return near, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipes is a listener in memory.
type pipes struct {
	connections chan net.Conn
	once        sync.Once
	done        chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// put publishes the snapshot with one service changed; an empty image removes it.
func (s *stage) put(name, image string, revision int, addresses ...string) uint64 {
	r := fleet.Routed{Name: name, Revision: revision, Spec: &fleet.Spec{Name: name, Image: image}, Port: 80}
	for _, address := range addresses {
		r.Endpoints = append(r.Endpoints, fleet.Endpoint{Addr: netip.MustParseAddrPort(address)})
	}
	return s.putRouted(r)
}

func (s *stage) putRouted(r fleet.Routed) uint64 {
	services := slices.DeleteFunc(slices.Clone(s.snapshot.Services), func(old fleet.Routed) bool {
		if old.Name == r.Name && old.Revision == r.Revision && r.Spec.Image == old.Spec.Image {
			r.Spec = old.Spec
		}
		return old.Name == r.Name
	})
	if r.Spec.Image != "" {
		services = append(services, r)
	}
	slices.SortFunc(services, func(a, b fleet.Routed) int { return strings.Compare(a.Name, b.Name) })
	s.snapshot = fleet.Snapshot{Version: s.snapshot.Version + 1, Services: services}
	published := s.snapshot
	s.feed.Publish(&published)
	return published.Version
}

// confirmed waits for a confirmation without an error and returns how long it took.
func (s *stage) confirmed(version uint64) (fleet.Confirmation, time.Duration) {
	s.t.Helper()
	begun := time.Now()
	confirmation, err := s.feed.Confirmed(s.ctx, version)
	if err != nil {
		s.t.Fatalf("version %d after %s: %v", version, time.Since(begun), err)
	}
	return confirmation, time.Since(begun)
}

// said returns the messages of the events so far.
func (s *stage) said() string {
	var text strings.Builder
	for {
		select {
		case e := <-s.events:
			fmt.Fprintf(&text, "%s %s: %s\n", e.Type, e.Service, e.Message)
		default:
			return text.String()
		}
	}
}

// traefik behaves towards the feed as a Traefik does.
type traefik struct {
	stage   *stage
	name    string
	takes   time.Duration     // from received to applied
	lag     time.Duration     // of websecure behind web
	pause   time.Duration     // between polls; 0 = 10 ms
	refuses func(p page) bool // documents that it cannot decode

	mu        sync.Mutex
	web, tls  string   // the hash in force
	live      page     // on websecure
	documents []page   // fetched, each once
	codes     []int    // of answers
	lengths   []string // Content-Length of answers
	stop      context.CancelFunc
	stopped   sync.WaitGroup
}

// address is where the feed finds an edge of that name; plain http on both, as pipes know no TLS here.
func address(name string) EdgeAddress {
	return EdgeAddress{Name: name, Web: "http://" + name + ":80", WebSecure: "http://" + name + ":443"}
}

func (e *traefik) start() *traefik {
	e.listen()
	e.connect()
	return e
}

// listen opens its entry points.
func (e *traefik) listen() {
	for port, hash := range map[string]*string{"80": &e.web, "443": &e.tls} {
		e.stage.serve(e.name+":"+port, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			e.mu.Lock()
			live := *hash
			e.mu.Unlock()
			if r.Host != probeHost || live == "" {
				http.NotFound(w, r)
				return
			}
			w.Header().Set(proxyhook.HeaderConfig, live)
			w.WriteHeader(http.StatusNoContent)
		})})
	}
}

// connect begins to poll.
func (e *traefik) connect() {
	ctx, cancel := context.WithCancel(e.stage.ctx)
	e.stop = cancel
	arrived := make(chan page, 100)
	e.stopped.Go(func() { e.apply(ctx, arrived) })
	e.stopped.Go(func() { e.poll(ctx, arrived) })
	e.stage.t.Cleanup(e.kill)
}

// kill ends it without a goodbye.
func (e *traefik) kill() {
	e.stop()
	e.stopped.Wait()
}

func (e *traefik) poll(ctx context.Context, arrived chan<- page) {
	transport := &http.Transport{DialContext: e.stage.dial}
	defer transport.CloseIdleConnections()
	last := ""
	for ctx.Err() == nil {
		pause := max(e.pause, 10*time.Millisecond)
		p, ok := e.fetch(ctx, transport)
		switch {
		case !ok:
			pause = 500 * time.Millisecond
		case p.Hash == last:
		case e.refuses != nil && e.refuses(p):
			last, pause = p.Hash, 500*time.Millisecond
		default:
			last = p.Hash
			arrived <- p
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (e *traefik) fetch(ctx context.Context, transport *http.Transport) (p page, ok bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://spawner:80/traefik/config?edge="+e.name, nil)
	if err != nil {
		e.stage.t.Error(err)
		return p, false
	}
	request.Header.Set("Accept-Encoding", "gzip")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return p, false
	}
	defer func() { _ = response.Body.Close() }()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.codes = append(e.codes, response.StatusCode)
	e.lengths = append(e.lengths, response.Header.Get("Content-Length"))
	if response.StatusCode != http.StatusOK {
		return p, false
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return p, false
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		e.stage.t.Error(err)
		return p, false
	}
	if err := json.NewDecoder(unzipped).Decode(&p); err != nil {
		e.stage.t.Error(err)
		return p, false
	}
	if len(e.documents) == 0 || e.documents[len(e.documents)-1].Hash != p.Hash {
		e.documents = append(e.documents, p)
	}
	return p, true
}

func (e *traefik) apply(ctx context.Context, arrived <-chan page) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-arrived:
			sleep(ctx, e.takes)
			e.mu.Lock()
			e.web = p.Hash
			e.mu.Unlock()
			sleep(ctx, e.lag)
			e.mu.Lock()
			e.tls, e.live = p.Hash, p
			e.mu.Unlock()
		}
	}
}

// sleep makes no timer of no length: two of those at once in a bubble of
// synctest crash the race detector (runtime.timer.modify runs them in place).
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// routes returns what is in force for a service.
func (e *traefik) routes(service string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live.Services[service]
}

func (e *traefik) fetched() []page {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.documents)
}

// play runs a test in a bubble of its own time.
func play(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// both are the settings of two entry points.
var both = proxyhook.Settings{Web: "web", WebSecure: "websecure"}
