package direct

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"edgespawner/fleet"
)

// fakeEngine keeps services in memory; a job ends as soon as it is waited for.
type fakeEngine struct {
	mu       sync.Mutex
	asked    []string
	services map[string]fleet.ServiceDetail
	jobErr   string // what the next deploys fail with
	waiting  chan struct{}
	err      error
}

func newEngine() *fakeEngine {
	f := &fakeEngine{services: map[string]fleet.ServiceDetail{}}
	f.add("shop", false, fleet.ContainerRunning)
	return f
}

// add puts a service there whose container's id is its name, made long.
func (f *fakeEngine) add(name string, direct bool, status fleet.ContainerStatus) {
	detail := fleet.ServiceDetail{Service: fleet.Service{Name: name, Image: "mock-app:latest", Status: fleet.StatusRunning}}
	if status == fleet.ContainerExited {
		detail.Status = fleet.StatusAsleep
	}
	detail.Spec.Direct, detail.Spec.Networks = direct, []string{"traefiknet"}
	detail.Containers = []fleet.ServiceContainer{{ID: idOf(name), Name: name, Status: status}}
	f.services[name] = detail
}

func idOf(name string) string { return strings.Repeat(name+"0", 8) }

func (f *fakeEngine) ask(what ...string) {
	f.asked = append(f.asked, strings.Join(what, " "))
}

func (f *fakeEngine) Deploy(_ context.Context, spec fleet.Spec, by string, _ bool) (fleet.Accepted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ask("deploy", spec.Name, by)
	if f.err != nil {
		return fleet.Accepted{}, f.err
	}
	f.add(spec.Name, true, fleet.ContainerRunning)
	detail := f.services[spec.Name]
	detail.Spec = spec
	f.services[spec.Name] = detail
	return fleet.Accepted{Service: spec.Name, JobID: "deploy"}, nil
}

func (f *fakeEngine) Remove(_ context.Context, name, by string) (fleet.Accepted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ask("remove", name, by)
	delete(f.services, name)
	return fleet.Accepted{Service: name, JobID: "remove"}, f.err
}

func (f *fakeEngine) Wake(_ context.Context, name, by string) (fleet.Accepted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ask("wake", name, by)
	return fleet.Accepted{Service: name, JobID: "wake"}, f.err
}

func (f *fakeEngine) WaitJob(ctx context.Context, id string) (fleet.Job, error) {
	if f.waiting != nil {
		select {
		case <-f.waiting:
		case <-ctx.Done():
			return fleet.Job{ID: id}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == "deploy" && f.jobErr != "" {
		return fleet.Job{ID: id, State: fleet.JobFailed, Error: f.jobErr}, nil
	}
	return fleet.Job{ID: id, State: fleet.JobSucceeded}, nil
}

func (f *fakeEngine) Services() []fleet.Service {
	f.mu.Lock()
	defer f.mu.Unlock()
	var services []fleet.Service
	for _, detail := range f.services {
		services = append(services, detail.Service)
	}
	slices.SortFunc(services, func(a, b fleet.Service) int { return strings.Compare(a.Name, b.Name) })
	return services
}

func (f *fakeEngine) Service(name string) (fleet.ServiceDetail, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	detail, ok := f.services[name]
	if !ok {
		return detail, fleet.Errorf(fleet.NotFound, "there is no service %q", name)
	}
	return detail, nil
}

// gate is an authority and the password file behind it.
type gate struct{}

func (gate) Authorize(r *http.Request, scope fleet.Scope) (string, error) {
	switch held := r.Header.Get("token"); {
	case held == "read" && scope == fleet.ScopeRead, held == "good":
		return "ann", nil
	case held == "read":
		return "", fleet.Errorf(fleet.Forbidden, "scope %s is needed", scope)
	}
	return "", fleet.Errorf(fleet.Unauthorized, "a credential is needed")
}

func (gate) Login(_ context.Context, user, password, address string) (string, error) {
	switch {
	case user == "slow":
		e := fleet.Errorf(fleet.Busy, "too many failed logins")
		e.RetryAfter = 2e9
		return "", e
	case user == "ann" && password == "open sesame" && address == "192.0.2.1":
		return "good", nil
	}
	return "", fleet.Errorf(fleet.Unauthorized, "wrong username or password")
}

func (f *fakeEngine) api() *API {
	return New(Config{Engine: f, Authority: gate{}, Logins: gate{}})
}

// call sends one request with a token header, as the older scripts do.
func call(t *testing.T, a *API, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("token", "good")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}
