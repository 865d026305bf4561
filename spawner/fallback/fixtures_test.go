package fallback

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgespawner/fleet"
)

const secret = "edge-secret"

// engine is a Waker whose services the test decides.
type engine struct {
	wake      func(ctx context.Context, name, cause string) (fleet.Endpoint, error)
	published func(ctx context.Context, name string) error
	slept     []string // names given to Sleep

	mu       sync.Mutex
	snapshot *fleet.Snapshot
	holds    map[string]int
	wakes    int
	cause    string
}

// fleetOf returns an engine that knows these services, which are asleep.
func fleetOf(services ...fleet.Routed) *engine {
	for i := range services {
		if services[i].Spec == nil {
			spec := fleet.DefaultSpec()
			services[i].Spec = &spec
		}
	}
	return &engine{
		snapshot:  &fleet.Snapshot{Services: services},
		holds:     map[string]int{},
		published: func(context.Context, string) error { return nil },
	}
}

func (e *engine) WakeForRequest(ctx context.Context, name, cause string) (fleet.Endpoint, error) {
	e.mu.Lock()
	e.wakes++
	e.cause = cause
	e.mu.Unlock()
	return e.wake(ctx, name, cause)
}

func (e *engine) Hold(name string) func() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holds[name]++
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.holds[name]--
	}
}

func (e *engine) Sleep(_ context.Context, name, _ string) (fleet.Accepted, error) {
	e.slept = append(e.slept, name)
	return fleet.Accepted{Service: name, JobID: "1"}, nil
}

func (e *engine) Published(ctx context.Context, name string) error { return e.published(ctx, name) }

func (e *engine) Snapshot() *fleet.Snapshot { return e.snapshot }

func (e *engine) held(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.holds[name]
}

func (e *engine) woken() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wakes
}

// readyAt makes every wake answer with that app at once.
func (e *engine) readyAt(address string) *engine {
	endpoint := fleet.Endpoint{Replica: "app-0", Addr: netip.MustParseAddrPort(address)}
	e.wake = func(context.Context, string, string) (fleet.Endpoint, error) { return endpoint, nil }
	return e
}

// failing makes every wake answer with that error at once.
func (e *engine) failing(err error) *engine {
	e.wake = func(context.Context, string, string) (fleet.Endpoint, error) { return fleet.Endpoint{}, err }
	return e
}

// never makes every wake last until its caller leaves.
func (e *engine) never() *engine {
	e.wake = func(ctx context.Context, _, _ string) (fleet.Endpoint, error) {
		<-ctx.Done()
		return fleet.Endpoint{}, ctx.Err()
	}
	return e
}

// byHost matches the host <service>.test; services in guarded have middlewares.
func byHost(e *engine, guarded ...string) Matcher {
	return MatcherFunc(func(req *http.Request) (string, bool, bool) {
		name, ok := strings.CutSuffix(req.Host, ".test")
		if !ok {
			return "", false, false
		}
		if _, ok := e.snapshot.Find(name); !ok {
			return "", false, false
		}
		for _, g := range guarded {
			if g == name {
				return name, true, true
			}
		}
		return name, false, true
	})
}

func newRouter(t *testing.T, e *engine, change func(*Config)) *Router {
	t.Helper()
	config := Config{Waker: e, Matcher: byHost(e), EdgeSecret: secret}
	if change != nil {
		change(&config)
	}
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		for name, count := range e.holds {
			if count != 0 {
				t.Errorf("%d holds of %s are left", count, name)
			}
		}
	})
	return r
}

// public serves a Router with the settings of the public listener.
func public(t *testing.T, r *Router) (address string) {
	t.Helper()
	var handlers sync.WaitGroup // a server does not wait for those that took their connection over
	t.Cleanup(handlers.Wait)
	return serveWith(t, NewServer("", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		r.ServeHTTP(w, req)
	}), nil))
}

func serveWith(t *testing.T, server *http.Server) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	return listener.Addr().String()
}

// app starts an app on all protocols that need no certificate.
func app(t *testing.T, handler http.HandlerFunc) (address string) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return serveWith(t, &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: time.Minute})
}

// onLeg makes a request look as if it came down a leg of an edge.
func onLeg(req *http.Request, service string, leg Leg) *http.Request {
	req.Header.Set(HeaderEdge, secret)
	req.Header.Set(HeaderService, service)
	req.Header.Set(HeaderLeg, string(leg))
	return req
}

// get makes a request on the leg asleep.
func get(target string) *http.Request {
	return onLeg(httptest.NewRequest(http.MethodGet, target, nil), "app", LegAsleep)
}

// browser makes a request look like a browser that opens a page.
func browser(req *http.Request) *http.Request {
	req.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	return req
}

// answer serves one request without a network.
func answer(r *Router, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// service returns a service whose spec change makes.
func service(name string, change func(*fleet.Spec)) fleet.Routed {
	spec := fleet.DefaultSpec()
	spec.Name = name
	if change != nil {
		change(&spec)
	}
	return fleet.Routed{Name: name, Spec: &spec, Status: fleet.StatusAsleep, Port: 80}
}

// closedAddress returns an address that refuses.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// swappingEngine is an engine whose snapshot changes while requests read it.
type swappingEngine struct {
	*engine
	current atomic.Pointer[fleet.Snapshot]
}

func (s *swappingEngine) Snapshot() *fleet.Snapshot { return s.current.Load() }
