package proxyhook

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edgespawner/fleet"
)

// testSettings are those of a usual installation.
func testSettings() Settings {
	return Settings{
		FallbackURL: "http://10.9.9.9:8000", EdgeSecret: "the-secret", Web: "web", WebSecure: "websecure",
		CatchAll: true, CertResolver: "letsencrypt", HTTPSPort: 443, ProbeHost: "probe.invalid", CookieKey: "instance",
	}
}

// serviceSpec is a spec that the edge can route, changed by edits.
func serviceSpec(name string, edits ...func(*fleet.Spec)) *fleet.Spec {
	spec := fleet.DefaultSpec()
	spec.Name, spec.Image = name, "app:1"
	for _, edit := range edits {
		edit(&spec)
	}
	return &spec
}

func withRoute(route fleet.Route) func(*fleet.Spec) {
	return func(s *fleet.Spec) { s.Route = &route }
}

func withHosts(hosts ...string) func(*fleet.Spec) { return withRoute(fleet.Route{Hosts: hosts}) }

// withLabels takes pairs of key and value.
func withLabels(pairs ...string) func(*fleet.Spec) {
	return func(s *fleet.Spec) {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		for i := 0; i < len(pairs); i += 2 {
			s.Labels[pairs[i]] = pairs[i+1]
		}
	}
}

func direct(s *fleet.Spec) { s.Direct = true }

// routed puts a spec into service with so many ready replicas.
func routed(spec *fleet.Spec, ready int) fleet.Routed {
	r := fleet.Routed{Name: spec.Name, Revision: 3, Spec: spec, Port: 8080, Status: fleet.StatusAsleep}
	for i := range ready {
		address := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		r.Endpoints = append(r.Endpoints, fleet.Endpoint{Replica: fleet.ReplicaName(spec.Name, i), Addr: netip.AddrPortFrom(address, 8080)})
		r.Status = fleet.StatusRunning
	}
	return r
}

func snapshotOf(services ...fleet.Routed) *fleet.Snapshot {
	slices.SortFunc(services, func(a, b fleet.Routed) int { return strings.Compare(a.Name, b.Name) })
	return &fleet.Snapshot{Version: 1, Services: services}
}

// minionLabels is the payload of the older direct-routing API, in its two modes.
func minionCookie(number int) *fleet.Spec {
	name := fmt.Sprintf("minion-%d", number)
	return serviceSpec(name, direct, withLabels(
		"healthcheck", "http://"+name+":9000/status",
		"traefik.enable", "true",
		"traefik.http.routers."+name+".entrypoints", "websecure",
		"traefik.http.routers."+name+".tls", "true",
		"traefik.http.routers."+name+".rule", `HeadersRegexp("Cookie",".*instance=`+name+`.*")`,
		"traefik.http.services."+name+".loadbalancer.server.port", "9000"))
}

func minionPath(number int) *fleet.Spec {
	name := fmt.Sprintf("minion-%d", number)
	return serviceSpec(name, direct, withLabels(
		"healthcheck", "http://"+name+":9000/status",
		"traefik.enable", "true",
		"traefik.http.routers."+name+".entrypoints", "web",
		"traefik.http.routers."+name+".rule", "PathPrefix(`/"+name+"`)",
		"traefik.http.routers."+name+".middlewares", name+"-context",
		"traefik.http.middlewares."+name+"-context.replacepathregex.regex", "^/"+name+"(.*)",
		"traefik.http.middlewares."+name+"-context.replacepathregex.replacement", "${1}"))
}

// accepted fails the test unless the edge can route the spec.
func accepted(t *testing.T, spec *fleet.Spec) []string {
	t.Helper()
	warnings, err := Check(testSettings(), *spec, nil)
	if err != nil {
		t.Fatalf("Check(%s) = %v, want it accepted", spec.Name, err)
	}
	return warnings
}
