package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"edgespawner/fleet"
)

// fakeEngine is an engine without containers: it records what is asked of it.
type fakeEngine struct {
	mu      sync.Mutex
	asked   []string
	specs   map[string]fleet.Spec // stored, by name
	tokens  []fleet.StoredToken
	hooks   []fleet.Webhook
	err     error // what every verb and question fails with
	frozen  string
	loading error // why it is not ready
	job     fleet.Job
	ended   chan struct{} // WaitJob returns when it is closed
	lines   func(ctx context.Context, line func(fleet.LogLine) error) error
	filters []fleet.EventFilter
	follow  chan fleet.Event
	deploys []fleet.Spec
	nodes   []fleet.NodeSpec // that were added
	list    []fleet.Node
}

func (f *fakeEngine) ask(what ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, strings.Join(what, " "))
	return f.err
}

func (f *fakeEngine) accept(verb, name, by string) (fleet.Accepted, error) {
	return fleet.Accepted{Service: name, JobID: "j1"}, f.ask(verb, name, by)
}

func (f *fakeEngine) Deploy(_ context.Context, spec fleet.Spec, by string, force bool) (fleet.Accepted, error) {
	f.mu.Lock()
	f.deploys = append(f.deploys, spec)
	f.mu.Unlock()
	verb := "deploy"
	if force {
		verb = "force-deploy"
	}
	if err := f.ask(verb, spec.Name, by); err != nil {
		return fleet.Accepted{}, err
	}
	if spec.Image == "unchanged" {
		return fleet.Accepted{Service: spec.Name, Revision: 1, Unchanged: true}, nil
	}
	return fleet.Accepted{Service: spec.Name, Revision: 1, JobID: "j1"}, nil
}

func (f *fakeEngine) Plan(_ context.Context, spec fleet.Spec, _ bool) (fleet.Plan, error) {
	return fleet.Plan{Service: spec.Name, Revision: 2}, f.ask("plan", spec.Name)
}

func (f *fakeEngine) Spec(_ context.Context, name string) (fleet.Spec, error) {
	if spec, ok := f.specs[name]; ok {
		return spec, nil
	}
	return fleet.Spec{}, fleet.Errorf(fleet.NotFound, "there is no service %q", name)
}

func (f *fakeEngine) Scale(_ context.Context, name string, replicas int, by string) (fleet.Accepted, error) {
	return f.accept("scale-"+string(rune('0'+replicas)), name, by)
}

func (f *fakeEngine) Rollback(_ context.Context, name string, revision int, by string) (fleet.Accepted, error) {
	return f.accept("rollback-"+string(rune('0'+revision)), name, by)
}

func (f *fakeEngine) Restart(_ context.Context, name, by string) (fleet.Accepted, error) {
	return f.accept("restart", name, by)
}

func (f *fakeEngine) Remove(_ context.Context, name, by string) (fleet.Accepted, error) {
	return f.accept("remove", name, by)
}

func (f *fakeEngine) RemoveWithVolumes(_ context.Context, name, by string) (fleet.Accepted, error) {
	return f.accept("remove-with-volumes", name, by)
}

func (f *fakeEngine) Wake(_ context.Context, name, by string) (fleet.Accepted, error) {
	return f.accept("wake", name, by)
}

func (f *fakeEngine) Sleep(_ context.Context, name, by string) (fleet.Accepted, error) {
	return f.accept("sleep", name, by)
}

func (f *fakeEngine) Services() []fleet.Service { return nil }

func (f *fakeEngine) Service(name string) (fleet.ServiceDetail, error) {
	spec, err := f.Spec(context.Background(), name)
	return fleet.ServiceDetail{Service: fleet.Service{Name: name, Image: spec.Image}, Spec: spec, Revision: 1}, errors.Join(err)
}

func (f *fakeEngine) Revisions(ctx context.Context, name string) ([]fleet.Revision, error) {
	spec, err := f.Spec(ctx, name)
	return []fleet.Revision{{Service: name, Number: 1, Spec: spec}}, err
}

func (f *fakeEngine) Why(name string) (fleet.Why, error) {
	return fleet.Why{Service: name}, f.ask("why", name)
}

func (f *fakeEngine) Nodes(context.Context) ([]fleet.Node, error) { return f.list, f.ask("nodes") }

func (f *fakeEngine) AddNode(_ context.Context, spec fleet.NodeSpec, by string) (fleet.Node, error) {
	f.nodes = append(f.nodes, spec)
	return fleet.Node{Name: spec.Name, Endpoint: spec.Endpoint}, f.ask("add-node", spec.Name, by)
}

func (f *fakeEngine) RemoveNode(_ context.Context, name string, force bool, by string) error {
	return f.ask("remove-node", name, strconv.FormatBool(force), by)
}

func (f *fakeEngine) UsageOfNode(_ context.Context, name string) (fleet.Resources, error) {
	return fleet.Resources{CPUShares: 512, MemoryMB: 64}, f.ask("usage", name)
}

func (f *fakeEngine) DrainNode(_ context.Context, name, by string) error {
	return f.ask("drain-node", name, by)
}

func (f *fakeEngine) ResumeNode(_ context.Context, name, by string) error {
	return f.ask("resume-node", name, by)
}

func (f *fakeEngine) Rebalance(_ context.Context, question fleet.Rebalance, by string) (fleet.RebalancePlan, error) {
	plan := fleet.RebalancePlan{ID: "p1", Moves: []fleet.Move{{Service: "web", Replica: "web-0", From: "n1", To: "n2", Reason: "full"}}}
	if !question.Plan {
		plan.JobID = "j1"
	}
	return plan, f.ask("rebalance", fmt.Sprint(question.Plan, question.Moves), question.ID, by)
}

func (f *fakeEngine) WhatIf(_ context.Context, question fleet.WhatIf) (fleet.WhatIfAnswer, error) {
	return fleet.WhatIfAnswer{Nodes: []fleet.NodeLoad{{Name: "n1"}}}, f.ask("whatif", fmt.Sprint(question.Kill, question.Scale))
}

func (f *fakeEngine) Ready() (string, error) { return f.frozen, f.loading }

func (f *fakeEngine) Edges() []fleet.Edge { return nil }

func (f *fakeEngine) Jobs(context.Context, string, int) ([]fleet.Job, error) {
	return []fleet.Job{f.job}, f.ask("jobs")
}

func (f *fakeEngine) Job(_ context.Context, id string) (fleet.Job, error) {
	job := f.job
	job.ID = id
	return job, f.ask("job", id)
}

func (f *fakeEngine) WaitJob(ctx context.Context, id string) (fleet.Job, error) {
	select {
	case <-f.ended:
		return fleet.Job{ID: id, State: fleet.JobSucceeded}, nil
	case <-ctx.Done():
		return fleet.Job{ID: id, State: fleet.JobRunning}, ctx.Err()
	}
}

func (f *fakeEngine) CancelJob(_ context.Context, id, by string) (fleet.Job, error) {
	return fleet.Job{ID: id, State: fleet.JobCanceled}, f.ask("cancel", id, by)
}

func (f *fakeEngine) Logs(ctx context.Context, _ string, _ fleet.LogOptions, line func(fleet.LogLine) error) error {
	if f.lines == nil {
		return nil
	}
	return f.lines(ctx, line)
}

func (f *fakeEngine) Events(_ context.Context, filter fleet.EventFilter) ([]fleet.Event, error) {
	f.filters = append(f.filters, filter)
	return nil, f.err
}

func (f *fakeEngine) FollowEvents(_ context.Context, filter fleet.EventFilter) (int64, <-chan fleet.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filters = append(f.filters, filter)
	return 6, f.follow, f.err
}

func (f *fakeEngine) Record(event fleet.Event) {
	_ = f.ask("record", string(event.Type), event.Message, event.By)
}

// fakeTokens is the store of tokens.
type fakeTokens struct{ *fakeEngine }

func (f fakeTokens) Add(_ context.Context, token fleet.StoredToken) error {
	f.tokens = append(f.tokens, token)
	return f.err
}

func (f fakeTokens) Remove(_ context.Context, name string) error { return f.ask("remove-token", name) }

func (f fakeTokens) List(context.Context) ([]fleet.StoredToken, error) { return f.tokens, f.err }

// fakeWebhooks are webhooks without receivers.
type fakeWebhooks struct{ *fakeEngine }

func (f fakeWebhooks) Add(_ context.Context, hook fleet.Webhook) (fleet.Webhook, error) {
	f.hooks = append(f.hooks, hook)
	hook.Secret = "whsec_shown-once"
	return hook, f.err
}

func (f fakeWebhooks) Remove(_ context.Context, name string) error {
	return f.ask("remove-webhook", name)
}

func (f fakeWebhooks) List(context.Context) ([]fleet.Webhook, error) { return f.hooks, f.err }

func (f fakeWebhooks) Test(_ context.Context, name, by string) (fleet.WebhookTest, error) {
	return fleet.WebhookTest{Status: 204}, f.ask("test-webhook", name, by)
}

// byScope is an authority whose tokens are the names of their scopes.
type byScope struct{}

// included are the scopes that a scope opens.
var included = map[fleet.Scope][]fleet.Scope{
	fleet.ScopeAdmin:  {fleet.ScopeAdmin, fleet.ScopeDeploy, fleet.ScopeRead},
	fleet.ScopeDeploy: {fleet.ScopeDeploy, fleet.ScopeRead},
	fleet.ScopeRead:   {fleet.ScopeRead},
	fleet.ScopeEdge:   {fleet.ScopeEdge},
}

func (byScope) Authorize(r *http.Request, scope fleet.Scope) (string, error) {
	held, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !ok || included[fleet.Scope(held)] == nil:
		return "", fleet.Errorf(fleet.Unauthorized, "a credential is needed")
	case !slices.Contains(included[fleet.Scope(held)], scope):
		return "", fleet.Errorf(fleet.Forbidden, "scope %s is needed", scope)
	}
	return "token:" + held, nil
}

// answering is a handler that was handed in.
var answering = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "handed in") })

func newEngine() *fakeEngine {
	stored := fleet.DefaultSpec()
	stored.Name, stored.Image, stored.Replicas = "api", "app:1", 3
	stored.Env = map[string]fleet.Secret{"KEY": "stored-secret", "OTHER": "kept"}
	check := fleet.HealthCheck{
		Type: fleet.CheckHTTP, Endpoint: "http://localhost/health", Headers: map[string]fleet.Secret{"Authorization": "stored-secret of a header"},
	}.WithDefaults()
	stored.HealthCheck = &check
	return &fakeEngine{specs: map[string]fleet.Spec{"api": stored}, ended: make(chan struct{}), follow: make(chan fleet.Event, 8)}
}

func newAPI(f *fakeEngine) *API {
	return New(Config{
		Deployer: f, Verbs: f, Questions: f, Jobs: f, Records: f, Edges: f, Nodes: f, Balancer: f, Remover: f,
		Tokens: fakeTokens{f}, Webhooks: fakeWebhooks{f}, Authority: byScope{}, Feed: answering, Metrics: answering, Direct: answering,
		Log: slog.New(slog.DiscardHandler),
	})
}

// ask sends one request as an admin and returns the answer.
func ask(t *testing.T, f *fakeEngine, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer admin")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	newAPI(f).ServeHTTP(w, r)
	return w
}
