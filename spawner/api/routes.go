package api

import (
	"encoding/json"
	"net/http"
	"time"

	"edgespawner/fleet"

	"github.com/julienschmidt/httprouter"
)

// open is the scope of what needs no credential.
const open fleet.Scope = ""

// route is one line of the table: everything that there is to know of it.
type route struct {
	method, path string
	scope        fleet.Scope // open = none
	handle       func(w http.ResponseWriter, r *request) error
	query        []string // the parameters that it takes; any other is refused
	summary      string
	body, answer any      // zero values, for the description; nil = none
	status       int      // of a good answer; 0 = 200
	types        []string // of a good answer; nil = application/json
	own          bool     // the handler checks credentials and parameters itself
	loaded       bool     // it speaks of services, jobs or nodes: not before the state is loaded
}

// What verbs answer: the accepted work, with ?wait= the job, with ?dry_run= the plan.
type (
	verbAnswer      struct{}
	deployAnswer    struct{}
	rebalanceAnswer struct{}
)

// routes is the table of the API. A test calls every line of it without a
// credential and with each wrong scope.
func (a *API) routes() []route {
	read, deploy, admin := fleet.ScopeRead, fleet.ScopeDeploy, fleet.ScopeAdmin
	verbs := a.config.Verbs
	table := []route{
		{method: "POST", path: "/api/deploy", scope: deploy, loaded: true, handle: a.deploy, query: []string{"wait", "dry_run", "merge", "force"}, summary: "Create or update a service", body: fleet.Spec{}, answer: deployAnswer{}, status: 202},
		{method: "GET", path: "/api/services", scope: read, loaded: true, handle: a.services, summary: "List the services", answer: []fleet.Service{}},
		{method: "GET", path: "/api/services/:name", scope: read, loaded: true, handle: a.service, query: []string{"reveal"}, summary: "One service with all that is known of it", answer: fleet.ServiceDetail{}},
		{method: "DELETE", path: "/api/services/:name", scope: deploy, loaded: true, handle: a.remove, query: []string{"wait", "volumes"}, summary: "Remove a service", answer: verbAnswer{}, status: 202},
		{method: "POST", path: "/api/services/:name/scale", scope: deploy, loaded: true, handle: a.scale, query: []string{"wait"}, summary: "Set the number of replicas", body: scaleBody{}, answer: verbAnswer{}, status: 202},
		{method: "POST", path: "/api/services/:name/wake", scope: deploy, loaded: true, handle: a.verb(verbs.Wake), query: []string{"wait"}, summary: "Wake a service", answer: verbAnswer{}, status: 202},
		{method: "POST", path: "/api/services/:name/sleep", scope: deploy, loaded: true, handle: a.verb(verbs.Sleep), query: []string{"wait"}, summary: "Put a service to sleep", answer: verbAnswer{}, status: 202},
		{method: "POST", path: "/api/services/:name/restart", scope: deploy, loaded: true, handle: a.verb(verbs.Restart), query: []string{"wait"}, summary: "Restart the apps of a service, replica by replica", answer: verbAnswer{}, status: 202},
		{method: "POST", path: "/api/services/:name/rollback", scope: deploy, loaded: true, handle: a.rollback, query: []string{"wait"}, summary: "Bring an earlier revision back", body: rollbackBody{}, answer: verbAnswer{}, status: 202},
		{method: "GET", path: "/api/services/:name/revisions", scope: read, loaded: true, handle: a.revisions, query: []string{"reveal"}, summary: "The accepted specs, newest first", answer: []fleet.Revision{}},
		{method: "GET", path: "/api/services/:name/logs", scope: read, loaded: true, handle: a.logs, query: []string{"tail", "since", "follow", "timestamps", "replica"}, summary: "The output of the replicas, merged in time order", answer: fleet.LogLine{}, types: []string{textPlain, ndjson}},
		{method: "GET", path: "/api/services/:name/why", scope: read, loaded: true, handle: a.why, summary: "What keeps a service in its state", answer: fleet.Why{}},
		{method: "GET", path: "/api/events", scope: read, handle: a.events, query: []string{"service", "replica", "node", "by", "type", "since", "until", "after", "before", "limit", "follow"}, summary: "Recorded events, ascending; or a stream of them", answer: []fleet.Event{}, types: []string{applicationJSON, eventStream}},
		{method: "GET", path: "/api/jobs", scope: read, loaded: true, handle: a.jobs, query: []string{"service", "limit"}, summary: "Jobs, newest first", answer: []fleet.Job{}},
		{method: "GET", path: "/api/jobs/:id", scope: read, loaded: true, handle: a.job, query: []string{"wait"}, summary: "One job with its steps", answer: fleet.Job{}},
		{method: "DELETE", path: "/api/jobs/:id", scope: deploy, loaded: true, handle: a.cancelJob, summary: "Cancel a job", answer: fleet.Job{}},
		{method: "GET", path: "/api/nodes", scope: read, loaded: true, handle: a.nodes, query: []string{"used"}, summary: "List the nodes", answer: []fleet.Node{}},
		{method: "POST", path: "/api/nodes", scope: admin, loaded: true, handle: a.addNode, summary: "Make a Docker engine a node", body: fleet.NodeSpec{}, answer: fleet.Node{}, status: 201},
		{method: "GET", path: "/api/nodes/:name", scope: read, loaded: true, handle: a.node, query: []string{"used"}, summary: "One node", answer: fleet.Node{}},
		{method: "DELETE", path: "/api/nodes/:name", scope: admin, loaded: true, handle: a.removeNode, query: []string{"force"}, summary: "Let a node go", status: 204},
		{method: "POST", path: "/api/nodes/:name/drain", scope: admin, loaded: true, handle: a.drainNode, summary: "Move the replicas of a node away and let nothing new on it", answer: fleet.Node{}},
		{method: "POST", path: "/api/nodes/:name/resume", scope: admin, loaded: true, handle: a.resumeNode, summary: "Let replicas on a node again", answer: fleet.Node{}},
		{method: "POST", path: "/api/rebalance", scope: deploy, loaded: true, handle: a.rebalance, query: []string{"wait"}, summary: "Move replicas to where they stand better, or show the plan", body: fleet.Rebalance{}, answer: rebalanceAnswer{}, status: 202},
		{method: "POST", path: "/api/whatif", scope: read, loaded: true, handle: a.whatIf, summary: "What would become of the replicas; nothing is changed", body: fleet.WhatIf{}, answer: fleet.WhatIfAnswer{}},
		{method: "GET", path: "/api/edges", scope: read, handle: a.edges, summary: "List the edges and what each has confirmed", answer: []fleet.Edge{}},
		{method: "GET", path: "/api/tokens", scope: admin, handle: a.tokens, summary: "List the tokens, without their secrets", answer: []fleet.Token{}},
		{method: "POST", path: "/api/tokens", scope: admin, handle: a.addToken, summary: "Make a token; this answer alone shows its secret", body: tokenBody{}, answer: fleet.Token{}, status: 201},
		{method: "DELETE", path: "/api/tokens/:name", scope: admin, handle: a.removeToken, summary: "Make a token worthless", status: 204},
		{method: "GET", path: "/api/webhooks", scope: admin, handle: a.webhooks, summary: "List the webhooks, without their secrets", answer: []fleet.Webhook{}},
		{method: "POST", path: "/api/webhooks", scope: admin, handle: a.addWebhook, summary: "Send events to a receiver; this answer alone shows the secret", body: webhookBody{}, answer: fleet.Webhook{}, status: 201},
		{method: "POST", path: "/api/webhooks/:name/test", scope: admin, handle: a.testWebhook, summary: "Send a test message, once", answer: fleet.WebhookTest{}},
		{method: "DELETE", path: "/api/webhooks/:name", scope: admin, handle: a.removeWebhook, summary: "Send nothing to a receiver any more", status: 204},
		{method: "GET", path: "/api/openapi.json", scope: open, handle: a.openapi, summary: "This description", answer: json.RawMessage{}},
		{method: "GET", path: "/healthz", scope: open, handle: a.healthz, summary: "200 when the spawner answers at all", answer: statusAnswer{}},
		{method: "GET", path: "/readyz", scope: open, handle: a.readyz, summary: "200 once its state is loaded and its engines were asked", answer: statusAnswer{}},
	}
	return append(table, a.mounted()...)
}

// mounted are the lines of handlers that were handed in.
func (a *API) mounted() []route {
	var table []route
	if h := a.config.Feed; h != nil {
		table = append(table, route{method: "GET", path: "/traefik/config", scope: fleet.ScopeEdge, handle: pass(h), query: []string{"edge"}, summary: "The dynamic configuration of an edge, long-polled", answer: json.RawMessage{}})
	}
	if h := a.config.Metrics; h != nil {
		table = append(table, route{method: "GET", path: "/metrics", scope: fleet.ScopeRead, handle: pass(h), summary: "Metrics for Prometheus", types: []string{textPlain}})
	}
	h := a.config.Direct
	if h == nil {
		return table
	}
	for _, slash := range []string{"", "/"} {
		table = append(table,
			route{method: "POST", path: "/login" + slash, handle: pass(h), own: true, summary: "Trade an account of the password file for a token", body: loginBody{}, answer: loginAnswer{}},
			route{method: "GET", path: "/deploy" + slash, scope: fleet.ScopeRead, loaded: true, handle: pass(h), own: true, summary: "List the direct instances"},
			route{method: "POST", path: "/deploy" + slash, scope: fleet.ScopeDeploy, loaded: true, handle: pass(h), own: true, summary: "Create and start a direct instance", body: directBody{}, answer: directAnswer{}},
			route{method: "PUT", path: "/deploy/:id" + slash, scope: fleet.ScopeDeploy, loaded: true, handle: pass(h), own: true, summary: "Start a direct instance again", answer: directAnswer{}},
			route{method: "DELETE", path: "/deploy/:id" + slash, scope: fleet.ScopeDeploy, loaded: true, handle: pass(h), own: true, summary: "Stop and remove a direct instance"},
		)
	}
	return table
}

// pass makes a line's handler of one that answers by itself.
func pass(h http.Handler) func(http.ResponseWriter, *request) error {
	return func(w http.ResponseWriter, r *request) error {
		h.ServeHTTP(w, r.Request)
		return nil
	}
}

// serve runs one line: who calls, what they ask, the answer or the refusal.
func (a *API) serve(rt route) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, params httprouter.Params) {
		if err := a.answer(w, r, rt, params); err != nil {
			a.refuse(w, r, err)
		}
	}
}

func (a *API) answer(w http.ResponseWriter, r *http.Request, rt route, params httprouter.Params) error {
	q := &request{Request: r, params: params}
	if rt.own {
		if err := a.loaded(rt); err != nil {
			return err
		}
		return rt.handle(w, q)
	}
	if rt.scope != open {
		by, err := a.config.Authority.Authorize(r, rt.scope)
		if err != nil {
			return err
		}
		q.by = by
	}
	if err := a.loaded(rt); err != nil {
		return err
	}
	if err := q.readQuery(rt.query); err != nil {
		return err
	}
	if rt.method != http.MethodGet {
		a.log.InfoContext(r.Context(), "Taking a request", "method", rt.method, "path", r.URL.Path, "by", q.by)
		if rt.body == nil {
			if err := q.noBody(w); err != nil {
				return err
			}
		}
	}
	return rt.handle(w, q)
}

// loaded refuses a line that speaks of what is not known yet: an empty list or
// "no such service" would be a lie, and a deploy would be checked against nothing.
func (a *API) loaded(rt route) error {
	if !rt.loaded {
		return nil
	}
	if _, err := a.config.Questions.Ready(); err != nil {
		return &fleet.Error{Kind: fleet.Unavailable, RetryAfter: time.Second, Message: notReady(err)}
	}
	return nil
}
