// Package api is the private HTTP API: one table of routes, each with its
// scope; handlers return errors and one place answers them. It decodes and
// checks requests, and what they ask for is done by those that Config hands
// in; it knows nothing of containers or edges, and opens no listener.
package api

import (
	"log/slog"
	"net/http"

	"edgespawner/fleet"

	"github.com/julienschmidt/httprouter"
)

// Config is who does what the API offers. Fields are needed unless they say otherwise.
type Config struct {
	Deployer  Deployer
	Verbs     Verbs
	Questions Questions
	Jobs      Jobs
	Records   Records
	Edges     Edges
	Nodes     Nodes
	Balancer  Balancer
	Remover   Remover
	Tokens    Tokens
	Webhooks  Webhooks
	Authority Authority

	// These are mounted as they are; nil = their routes are not there.
	Feed    http.Handler // GET /traefik/config, behind scope edge
	Metrics http.Handler // GET /metrics, behind scope read
	Direct  http.Handler // /login and /deploy…; it checks credentials by itself, in its own way

	Log *slog.Logger
}

// API is the handler of the private listener. Its streams end with their
// requests' contexts: a server that shuts down cancels those. How long a body
// may take is bounded by the ReadTimeout of that server, for every route.
type API struct {
	config   Config
	router   *httprouter.Router
	origin   *http.CrossOriginProtection
	document []byte // the OpenAPI description
	log      *slog.Logger
}

// New builds the API; it starts nothing.
func New(config Config) *API {
	a := &API{config: config, origin: http.NewCrossOriginProtection(), log: config.Log}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.router = httprouter.New()
	a.router.RedirectTrailingSlash, a.router.RedirectFixedPath, a.router.HandleOPTIONS = false, false, false
	a.router.NotFound = http.HandlerFunc(a.noRoute)
	a.router.MethodNotAllowed = http.HandlerFunc(a.noMethod)
	table := a.routes()
	for _, rt := range table {
		a.router.Handle(rt.method, rt.path, a.serve(rt))
		if rt.method == http.MethodGet && rt.scope == open { // load balancers ask so; net/http keeps the body back
			a.router.Handle(http.MethodHead, rt.path, a.serve(rt))
		}
	}
	a.document = describe(table)
	return a
}

// ServeHTTP answers one request. One that a foreign web page made a browser
// send is refused before anything else, since browsers add credentials by themselves.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := a.origin.Check(r); err != nil {
		a.refuse(w, r, fleet.Errorf(fleet.Forbidden, "a page of another site may not call this API"))
		return
	}
	a.router.ServeHTTP(w, r)
}

func (a *API) noRoute(w http.ResponseWriter, r *http.Request) {
	a.refuse(w, r, fleet.Errorf(fleet.NotFound, "there is no %s; /api/openapi.json lists what there is", r.URL.Path))
}

func (a *API) noMethod(w http.ResponseWriter, r *http.Request) {
	e := fleet.Errorf(fleet.Invalid, "%s takes %s, not %s", r.URL.Path, w.Header().Get("Allow"), r.Method)
	writeError(w, http.StatusMethodNotAllowed, e)
}
