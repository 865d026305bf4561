// Package direct is the older direct-routing API, exactly as its scripts know
// it: POST /login, and POST, GET, PUT, DELETE under /deploy, with and without a
// slash at the end. It translates their payload to a spec that is marked
// direct; everything else is the engine's. It lists and touches only such
// instances, never a service of the private API.
package direct

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"edgespawner/fleet"
)

// Engine is what carries out the calls. Errors are *fleet.Error; anything
// else is answered as internal.
type Engine interface {
	Deploy(ctx context.Context, spec fleet.Spec, by string, force bool) (fleet.Accepted, error)
	Remove(ctx context.Context, name, by string) (fleet.Accepted, error)
	Wake(ctx context.Context, name, by string) (fleet.Accepted, error)
	// WaitJob returns at the job's end, or when ctx ends with ctx's error.
	WaitJob(ctx context.Context, id string) (fleet.Job, error)
	Services() []fleet.Service
	// Service is NotFound for an unknown name.
	Service(name string) (fleet.ServiceDetail, error)
}

// Authority says who calls and whether they may.
type Authority interface {
	// Authorize returns the caller's name, by the header named token too, as the
	// older tools send it; Unauthorized without a good credential, Forbidden when it does not include scope, Busy while logins are slowed.
	Authorize(r *http.Request, scope fleet.Scope) (by string, err error)
}

// Logins knows the accounts of the password file.
type Logins interface {
	// Login returns a token that expires; Unauthorized for a wrong name or
	// password, Busy while the account or the address is slowed.
	Login(ctx context.Context, user, password, address string) (token string, err error)
}

// Config is what the API is made of, and how the site routes.
type Config struct {
	Engine    Engine
	Authority Authority
	Logins    Logins

	// Open lets anybody in without a credential (--direct-api-auth=off). Whoever
	// sets it has seen that the listener is on loopback; here a request must
	// also name a loopback host, so that no web page can reach it by a name of its own.
	Open bool

	// How an instance without router labels is reached.
	PathRouting     bool   // by path, else by cookie
	ContainerPrefix string // stands before the name in a path; empty = none
	CookieKey       string // name of the cookie; empty = DefaultCookieKey

	MaxWait fleet.Duration // how long a wake may take; 0 = fleet.DefaultMaxWait
	Log     *slog.Logger
}

// DefaultCookieKey names the cookie that selects an instance.
const DefaultCookieKey = "instance"

// API is the handler of /login and /deploy….
type API struct {
	config Config
	origin *http.CrossOriginProtection
	log    *slog.Logger

	mu       sync.Mutex // guards creating
	creating map[string]bool
}

// New builds the API; it starts nothing.
func New(config Config) *API {
	if config.CookieKey == "" {
		config.CookieKey = DefaultCookieKey
	}
	if config.MaxWait == 0 {
		config.MaxWait = fleet.DefaultMaxWait
	}
	if prefix := strings.Trim(config.ContainerPrefix, "/"); prefix == "" {
		config.ContainerPrefix = ""
	} else {
		config.ContainerPrefix = "/" + prefix
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &API{config: config, origin: http.NewCrossOriginProtection(), log: config.Log, creating: map[string]bool{}}
}

// handler answers one call; id is what the path names.
type handler func(w http.ResponseWriter, r *http.Request, id, by string) error

// ServeHTTP answers one call. There is no redirect between the two spellings of
// a path: a client that followed it would lose its body.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := a.origin.Check(r); err != nil {
		a.turnAway(w, r, fleet.Errorf(fleet.Forbidden, "a page of another site may not call this API"))
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path == "/login" && r.Method == http.MethodPost {
		if err := a.login(w, r); err != nil {
			a.turnAway(w, r, err)
		}
		return
	}
	handle, id, scope := a.find(r.Method, path)
	if handle == nil {
		a.refuse(w, r, fleet.Errorf(fleet.NotFound, "there is no %s %s", r.Method, r.URL.Path))
		return
	}
	by, err := a.authorize(r, scope)
	if err != nil {
		a.turnAway(w, r, err)
		return
	}
	if err := handle(w, r, id, by); err != nil {
		a.refuse(w, r, err)
	}
}

// find returns the handler of a call, the instance that its path names, and what it takes.
func (a *API) find(method, path string) (handler, string, fleet.Scope) {
	if path == "/deploy" {
		switch method {
		case http.MethodGet:
			return a.list, "", fleet.ScopeRead
		case http.MethodPost:
			return a.create, "", fleet.ScopeDeploy
		}
		return nil, "", ""
	}
	id, ok := strings.CutPrefix(path, "/deploy/")
	if !ok || id == "" || strings.Contains(id, "/") {
		return nil, "", ""
	}
	switch method {
	case http.MethodPut:
		return a.start, id, fleet.ScopeDeploy
	case http.MethodDelete:
		return a.remove, id, fleet.ScopeDeploy
	}
	return nil, "", ""
}
