package proxyhook

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/traefik/traefik/v3/pkg/config/label"

	"edgespawner/fleet"
)

func TestContainerLabelsSayWhatTheRouteSays(t *testing.T) {
	spec := serviceSpec("docs", withRoute(fleet.Route{Hosts: []string{"a.com"}, PathPrefix: "/docs", StripPrefix: true, TLS: true, Protocol: "h2c"}),
		withLabels("other", "x", "traefik.http.middlewares.m.compress", "true"))
	labels := ContainerLabels(testSettings(), *spec, 8080)
	conf, err := label.DecodeConfiguration(labels)
	if err != nil {
		t.Fatalf("Traefik refuses the labels %v: %v", labels, err)
	}
	if labels["traefik.enable"] != "true" || labels["other"] != "" {
		t.Errorf("labels %v", labels)
	}
	lb := conf.HTTP.Services["docs"].LoadBalancer
	if lb.Servers[0].Port != "8080" || lb.Servers[0].Scheme != "h2c" {
		t.Errorf("server %+v, want port 8080 by h2c", lb.Servers[0])
	}
	if len(conf.HTTP.Routers) != 2 {
		t.Fatalf("routers %v, want one for TLS and one that redirects", slices.Collect(maps.Keys(conf.HTTP.Routers)))
	}
	for name, router := range conf.HTTP.Routers {
		if router.Rule != "Host(`a.com`) && (Path(`/docs`) || PathPrefix(`/docs/`))" || router.Service != "docs" {
			t.Errorf("router %s: %+v", name, router)
		}
		for _, middleware := range router.Middlewares {
			if conf.HTTP.Middlewares[middleware] == nil {
				t.Errorf("router %s names the middleware %s, which is not there", name, middleware)
			}
		}
		if secure := strings.HasSuffix(name, "-tls"); secure != (router.TLS != nil) || secure && (len(router.Middlewares) != 2 || router.TLS.CertResolver != "letsencrypt") {
			t.Errorf("router %s: %+v", name, router)
		}
	}
}

func TestContainerLabelsKeepTheUsersOwn(t *testing.T) {
	spec := minionCookie(1)
	got := ContainerLabels(testSettings(), *spec, 9000)
	want := map[string]string{
		"traefik.enable": "true",
		"traefik.http.routers.minion-1.entrypoints":               "websecure",
		"traefik.http.routers.minion-1.tls":                       "true",
		"traefik.http.routers.minion-1.rule":                      "HeaderRegexp(`Cookie`, `(^|;\\s*)instance=\"?minion-1\"?\\s*(;|$)`)",
		"traefik.http.services.minion-1.loadbalancer.server.port": "9000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels differ (-want +got):\n%s", diff)
	}
}

func TestContainerLabelsOfRevisionsThatDifferHaveOtherNames(t *testing.T) {
	names := func(host string) string {
		for key := range ContainerLabels(testSettings(), *serviceSpec("svc", withHosts(host)), 80) {
			if name, ok := strings.CutSuffix(strings.ToLower(key), ".rule"); ok && !strings.Contains(key, "-tls.") {
				return name
			}
		}
		t.Fatal("no rule")
		return ""
	}
	first, again, other := names("a.com"), names("a.com"), names("b.com")
	if first == other {
		t.Error("two rules under one name: Traefik would drop both")
	}
	if first != again {
		t.Error("one rule under two names")
	}
}

func TestAServiceThatIsNotPublicHasNoLabels(t *testing.T) {
	if got := ContainerLabels(testSettings(), *serviceSpec("db"), 5432); len(got) != 0 {
		t.Errorf("labels %v", got)
	}
}
