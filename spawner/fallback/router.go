package fallback

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"sync"

	"edgespawner/fleet"
)

// Waker is the engine, as far as requests need it.
type Waker interface {
	// WakeForRequest returns a ready endpoint of the service, waking it first
	// where it sleeps. Its errors are *fleet.Error: NotFound for an unknown or
	// removed service, BadGateway for an app that exits at once, Timeout for one
	// that is not ready in time, Unavailable when nothing can be started now.
	// The end of ctx lets only this caller go.
	WakeForRequest(ctx context.Context, name, cause string) (fleet.Endpoint, error)
	// Hold marks the service as in use until release is called.
	Hold(name string) (release func())
	// Published waits until every edge has confirmed the route to the service's
	// present endpoints; an error says that it is not so, or that ctx ended.
	Published(ctx context.Context, name string) error
	// Sleep puts the service to sleep once nothing is in flight; it does not wait for that.
	Sleep(ctx context.Context, name, by string) (fleet.Accepted, error)
	// Snapshot returns the present picture of all services; never nil.
	Snapshot() *fleet.Snapshot
}

// Matcher tells which service a request is for by the rules of its route.
type Matcher interface {
	// Match returns the service whose rule matches, and whether its route has
	// middlewares; ok is false when no rule matches.
	Match(*http.Request) (service string, guarded, ok bool)
}

// MatcherFunc makes a Matcher of a function, such as one that asks for the
// newest rules at each request.
type MatcherFunc func(*http.Request) (service string, guarded, ok bool)

// Match calls f.
func (f MatcherFunc) Match(req *http.Request) (string, bool, bool) { return f(req) }

// DefaultMaxHeld is how many requests may wait at once unless Config says otherwise.
const DefaultMaxHeld = 10000

// Config is what a Router is made of.
type Config struct {
	Waker   Waker
	Matcher Matcher
	// EdgeSecret is what the edges send in X-Spawner-Edge. Empty = no request is trusted.
	EdgeSecret fleet.Secret
	// MaxHeld caps the requests that wait at once; beyond it the answer is 503. 0 = DefaultMaxHeld.
	MaxHeld int
	// CookieFallbackURL is where a client goes (302) that no rule matches, such
	// as one without the cookie of an instance. Empty = it gets a 404.
	CookieFallbackURL string
	// RedirectToRoot sends the redirected clients of direct-routing instances to
	// / instead of their own URL, if the instance's rule matches there: the older
	// API's cookie mode.
	RedirectToRoot bool
	// Unconfirmed redirects woken clients without asking whether the edges have
	// the route: the older tool's traefik-check-enabled=false.
	Unconfirmed bool
	// Events is told of routes that the edges should have taken. Nil = nobody is.
	Events func(fleet.Event)
	Log    *slog.Logger // nil = discarded
}

// Router is the handler of the public listener.
type Router struct {
	waker   Waker
	matcher Matcher
	secret  [sha256.Size]byte // of the edges' secret
	trusts  bool              // a secret was set
	home    *home
	toRoot  bool
	blindly bool // redirects without the edges' confirmation
	events  func(fleet.Event)
	log     *slog.Logger

	transports transports
	gate       gate
	missing    missing
	counters   counters

	open  context.Context // ends with Close
	close context.CancelFunc

	mu         sync.Mutex         // guards waking
	waking     map[string]*waking // by service: the wakes that clients see a page of
	background sync.WaitGroup     // goroutines that outlive their request
}

// New makes a Router; it starts nothing. The error is about CookieFallbackURL.
func New(config Config) (*Router, error) {
	home, err := newHome(config.CookieFallbackURL)
	if err != nil {
		return nil, err
	}
	r := &Router{
		waker:      config.Waker,
		matcher:    config.Matcher,
		secret:     sha256.Sum256([]byte(config.EdgeSecret.Reveal())),
		trusts:     config.EdgeSecret != "",
		home:       home,
		toRoot:     config.RedirectToRoot,
		blindly:    config.Unconfirmed,
		events:     config.Events,
		log:        config.Log,
		transports: newTransports(),
		counters:   newCounters(),
		waking:     map[string]*waking{},
	}
	r.gate.most = config.MaxHeld
	if r.gate.most == 0 {
		r.gate.most = DefaultMaxHeld
	}
	if r.events == nil {
		r.events = func(fleet.Event) {}
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.open, r.close = context.WithCancel(context.Background())
	return r, nil
}

// ServeHTTP answers one request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	trusted := r.fromEdge(req)
	if !trusted {
		req = withoutClaims(req)
	}
	v, err := r.visit(req, trusted)
	switch {
	case err != nil:
	case v.probe:
		r.answerProbe(w, req)
	default:
		err = r.serve(w, req, v)
	}
	if err != nil {
		r.answerError(w, req, err)
	}
}

// serve is the way of a request from its arrival to the app's answer. An error
// means that nothing has been answered yet.
func (r *Router) serve(w http.ResponseWriter, req *http.Request, v visit) error {
	if v.guarded {
		return r.sendThroughEdge(w, req, v)
	}
	if v.leg == LegFailover && mayHaveRun(req, v) {
		return errMayHaveRun(v.name)
	}
	turn, err := r.gate.enter()
	if err != nil {
		return err
	}
	defer turn.end()
	defer r.waker.Hold(v.name)()
	ctx, cancel := r.patience(req.Context(), v)
	defer cancel(nil)
	body := holdBody(req, cancel)
	defer body.release(w)

	if v.answer == fleet.AnswerPage {
		if shown, err := r.showPage(ctx, w, v); shown || err != nil {
			return err
		}
	}
	for try := (&attempt{turn: turn, body: body}); ; {
		endpoint, err := r.waker.WakeForRequest(ctx, v.name, v.cause)
		if err != nil {
			return whyNot(ctx, v, err, try.last)
		}
		if endpoint.Addr.Port() == 0 {
			return fleet.Errorf(fleet.BadGateway, "service %s has no port that requests could go to", v.name)
		}
		if v.answer == fleet.AnswerRedirect {
			if sent, err := r.redirectOnceRouted(ctx, w, req, v); sent || err != nil {
				return err
			}
		}
		again, err := r.proxy(w, req, v, endpoint, try)
		if !again {
			return err
		}
		if err := try.pause(ctx); err != nil {
			return whyNot(ctx, v, err, try.last)
		}
	}
}

// Close releases every request that waits with 503 and Retry-After, refuses
// new ones, and returns when all that waited have gone. Requests that an app
// answers are left to the http.Server's own shutdown.
func (r *Router) Close() {
	r.mu.Lock() // no goroutine is started after this
	r.close()
	r.mu.Unlock()
	r.gate.close()
	r.background.Wait()
}
