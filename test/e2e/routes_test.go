//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// visit is a request and what is to come of it: the answer of a service's
// replica, or that of nobody.
type visit struct {
	host, path, cookie string
	service            string // "" = 404
	seen               string // the path that the app is to see; "" = the path asked for
}

// mustReach asks an app's echo and looks who answered, and what it saw.
func mustReach(t *testing.T, s *stand.Stand, v visit) {
	t.Helper()
	answer := s.Do(stand.Request{Host: v.host, Path: v.path, Cookie: v.cookie})
	if v.service == "" {
		answer.MustBe(404)
		return
	}
	answer.MustBe(200)
	seen := v.seen
	if seen == "" {
		seen = v.path
	}
	if got := echoOf(t, answer.Body); got.URI != seen {
		t.Errorf("%s%s with cookie %q: the app saw %s, want %s", v.host, v.path, v.cookie, got.URI, seen)
	}
	if got := answer.Header.Get("X-Hostname"); got != fleet.ReplicaName(v.service, 0) {
		t.Errorf("%s%s with cookie %q: answered by %s, want %s", v.host, v.path, v.cookie, got, v.service)
	}
}

func TestEachKindOfRouteLeadsToItsServiceAwakeAndAsleep(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	deploy := func(name string, route fleet.Route) {
		spec := s.MockApp(name)
		spec.Route = &route
		spec.Route.Port = 9000
		s.Deploy(spec)
	}
	deploy("host", fleet.Route{Hosts: []string{"one.test"}})
	deploy("hosts", fleet.Route{Hosts: []string{"two.test", "three.test"}})
	deploy("path", fleet.Route{PathPrefix: "/echo/x"})
	deploy("strip", fleet.Route{PathPrefix: "/strip", StripPrefix: true})
	deploy("below", fleet.Route{Hosts: []string{"one.test"}, PathPrefix: "/echo/below"})
	deploy("cookie", fleet.Route{Cookie: &fleet.Cookie{Name: "instance", Value: "minion-1"}})
	deploy("ten", fleet.Route{Cookie: &fleet.Cookie{Name: "instance", Value: "minion-10"}})
	deploy("site-a", fleet.Route{Hosts: []string{"site.test"}, Cookie: &fleet.Cookie{Name: "side", Value: "a"}})
	deploy("site-b", fleet.Route{Hosts: []string{"site.test"}, Cookie: &fleet.Cookie{Name: "side", Value: "b"}})

	visits := []visit{
		{host: "one.test", path: "/echo", service: "host"},
		{host: "ONE.test", path: "/echo/a%2Fb", service: "host"},
		{host: "one.test:8080", path: "/echo", service: "host"},
		{host: "two.test", path: "/echo", service: "hosts"},
		{host: "three.test", path: "/echo?a=1&b", service: "hosts"},
		{host: "sub.one.test", path: "/echo"},
		{path: "/echo/x", service: "path"},
		{path: "/echo/x/y?z", service: "path"},
		{path: "/echo/x1"},
		{path: "/strip/echo/y", service: "strip", seen: "/echo/y"},
		{path: "/strip1/echo"},
		{host: "one.test", path: "/echo/below/it", service: "below"},
		{host: "one.test", path: "/echo/below1", service: "host"},
		{path: "/echo", cookie: "instance=minion-1", service: "cookie"},
		{path: "/echo", cookie: "instance=minion-10", service: "ten"},
		{path: "/echo", cookie: `a=b; instance="minion-1"; c=d`, service: "cookie"},
		{path: "/echo", cookie: "instance=minion-100"},
		{path: "/echo", cookie: "xinstance=minion-1"},
		{path: "/echo", cookie: "instance=xminion-1"},
		{host: "one.test", path: "/echo", cookie: "instance=minion-1", service: "host"},
		{host: "site.test", path: "/echo", cookie: "side=a", service: "site-a"},
		{host: "site.test", path: "/echo", cookie: "side=b", service: "site-b"},
		{host: "site.test", path: "/echo", cookie: "side=c"},
	}
	for _, v := range visits {
		mustReach(t, s, v)
	}
	var names []string
	for _, service := range s.Services() {
		names = append(names, service.Name)
	}
	sleepAll(t, s, names...)
	woken := map[string]bool{}
	for _, v := range visits { // the first of each wakes its service, and no other
		mustReach(t, s, v)
		woken[v.service] = true
		for _, service := range s.Services() {
			if awake := service.Status == fleet.StatusRunning; awake != woken[service.Name] {
				t.Errorf("after %s%s with cookie %q: %s is %s", v.host, v.path, v.cookie, service.Name, service.Status)
			}
		}
	}
}

func TestRequestsAreSharedOutOverTheReplicas(t *testing.T) {
	t.Parallel()
	const requests = 90
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Replicas = 3
	s.Deploy(app)
	share := func() (answered map[string]int) {
		answered = map[string]int{}
		for range requests {
			body := s.Get("web.test", "/").MustBe(200).Body
			name, _, _ := strings.Cut(strings.TrimPrefix(body, "hostname: "), "\n")
			answered[name]++
		}
		return answered
	}
	evenly := func(state string) {
		t.Helper()
		stand.Eventually(t, 20*time.Second, "the edge has all three", func() error {
			if answered := share(); len(answered) != 3 {
				return fmt.Errorf("%v answered", answered)
			}
			return nil
		})
		answered := share()
		for _, name := range []string{"web-0", "web-1", "web-2"} {
			// Each goes to the less busy of two that are drawn: of requests one after another a third on average.
			if answered[name] < requests/9 || len(answered) != 3 {
				t.Errorf("%s: %v answered", state, answered)
			}
		}
	}
	evenly("deployed")
	s.Sleep("web")
	s.Get("web.test", "/").MustBe(200)
	s.WaitReplicas("web", 3)
	evenly("woken")
	s.Scale("web", 1)
	if answered := share(); len(answered) != 1 || answered["web-0"] != requests {
		t.Errorf("with one replica: %v answered", answered)
	}
}
