package proxyhook

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"

	"edgespawner/fleet"
)

// asked is one request that a fuzz target asks the rendered routers for.
type asked struct{ host, path, cookie string }

func (a asked) request() (*http.Request, bool) {
	target, err := url.ParseRequestURI(a.path)
	if err != nil || !strings.HasPrefix(a.path, "/") || strings.ContainsAny(a.cookie, "\r\n\x00") {
		return nil, false
	}
	request := httptest.NewRequest(http.MethodPost, "/", nil)
	request.URL, request.Host = target, a.host
	request.Header.Set("Content-Type", "application/grpc") // so that the bypass is asked too
	if a.cookie != "" {
		request.Header.Set("Cookie", a.cookie)
	}
	return request, true
}

// routeTakes says, without any of Traefik's code, whether a route takes a request.
func routeTakes(route fleet.Route, r *http.Request) bool {
	host := strings.ToLower(strings.TrimSpace(r.Host))
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	named := len(route.Hosts) == 0
	for _, wanted := range route.Hosts {
		name, err := hostName(wanted)
		named = named || err == nil && name == host
	}
	prefix := strings.TrimRight(route.PathPrefix, "/")
	below := prefix == "" || r.URL.Path == prefix || strings.HasPrefix(r.URL.Path, prefix+"/")
	return named && below && (route.Cookie == nil || cookieIn(r.Header.Get("Cookie"), *route.Cookie))
}

func cookieIn(header string, wanted fleet.Cookie) bool {
	for pair := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.Trim(pair, " \t\n\f\r"), "=")
		if name == wanted.Name && strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`) == wanted.Value {
			return true
		}
	}
	return false
}

// ruleTakes says whether the user's own rule, as Traefik reads it, takes a
// request; an exact cookie may stand in quotes, which a loose pattern did not say.
func ruleTakes(t *testing.T, text string, r *http.Request) bool {
	for _, syntax := range []string{syntaxV3, syntaxV2} {
		if _, err := parseRule(text, syntax); err != nil {
			continue
		}
		only := &dynamic.HTTPConfiguration{Routers: map[string]*dynamic.Router{"own": {Rule: text, RuleSyntax: syntax, EntryPoints: []string{"web"}}}}
		unquoted := r.Clone(r.Context())
		unquoted.Header.Set("Cookie", strings.ReplaceAll(r.Header.Get("Cookie"), `"`, ""))
		own := newEdge(t, only, "web", false)
		return own.router(r) != "" || own.router(unquoted) != ""
	}
	return false
}

// checkSafe finds in a document what no labels may make of it.
func checkSafe(t *testing.T, s Settings, config *dynamic.HTTPConfiguration) {
	t.Helper()
	for name, router := range config.Routers {
		for _, reference := range append(slices.Clone(router.Middlewares), router.Service, name) {
			if strings.Contains(reference, "@") {
				t.Errorf("the router %s names %s of another provider", name, reference)
			}
		}
		for _, entryPoint := range router.EntryPoints {
			if !slices.Contains(s.publicEntryPoints(), entryPoint) {
				t.Errorf("the router %s stands on %s", name, entryPoint)
			}
		}
		if len(router.EntryPoints) == 0 || router.Priority <= 0 || router.Priority > probePriority || config.Services[router.Service] == nil {
			t.Errorf("the router %s: %+v", name, router)
		}
	}
	for name, service := range config.Services {
		if service.LoadBalancer == nil {
			continue
		}
		for _, server := range service.LoadBalancer.Servers {
			if server.URL != s.FallbackURL && !strings.HasSuffix(server.URL, "://10.0.0.1:8080") {
				t.Errorf("the service %s leads to %s", name, server.URL)
			}
		}
	}
	for name, middleware := range config.Middlewares {
		if middleware.ForwardAuth != nil || middleware.Plugin != nil || len(kinds(middleware)) != 1 {
			t.Errorf("the middleware %s is of the kinds %v", name, kinds(middleware))
		}
	}
}

// checkOwn fails when a router of the service takes a request that it should not.
func checkOwn(t *testing.T, spec *fleet.Spec, asked asked, takes func(*http.Request) bool) {
	if _, err := Check(testSettings(), *spec, nil); err != nil {
		return
	}
	request, ok := asked.request()
	if !ok {
		return
	}
	own := takes(request)
	for ready := range 2 {
		config := configuration(t, render(t, testSettings(), View{ACME: true}, routed(spec, ready)))
		checkSafe(t, testSettings(), config)
		for _, secure := range []bool{false, true} {
			entryPoint := map[bool]string{false: "web", true: "websecure"}[secure]
			taker := newEdge(t, config, entryPoint, secure).router(request)
			if strings.HasPrefix(taker, "svc-r3-") && !own {
				t.Errorf("%s takes %+v: %s", taker, asked, config.Routers[taker].Rule)
			}
		}
	}
}

func FuzzAnAcceptedRouteTakesNothingElse(f *testing.F) {
	f.Add("a.com", "/x", "instance", "m-1", "a.com", "/x/y", "instance=m-1")
	f.Add("a.com", "/x", "", "", "a.com", "/x1", "")
	f.Add("a.com", "", "instance", "m-1", "a.com", "/", "instance=m-10")
	f.Add("", "", "instance", "m.1", "b.com", "/", `a=b; instance="m.1"`)
	f.Add("a`) || PathPrefix(`/", "/x`) || PathPrefix(`/", "a`", ".*", "b.com", "/", "a=b")
	f.Add("bücher.example", "/café x", "", "", "xn--bcher-kva.example", "/caf%C3%A9%20x", "")
	f.Add("10.0.0.1", "/a;b", "$x", "y|z", "10.0.0.1:8080", "/a%3Bb", "$x=y")
	f.Fuzz(func(t *testing.T, host, path, cookieName, cookieValue, askedHost, askedPath, askedCookie string) {
		route := fleet.Route{PathPrefix: path}
		if host != "" {
			route.Hosts = []string{host, "other.example.com"}
		}
		if cookieName != "" || cookieValue != "" {
			route.Cookie = &fleet.Cookie{Name: cookieName, Value: cookieValue}
		}
		checkOwn(t, serviceSpec("svc", withRoute(route)), asked{askedHost, askedPath, askedCookie},
			func(r *http.Request) bool { return routeTakes(route, r) })
	})
}

func FuzzAnAcceptedRuleTakesNothingElse(f *testing.F) {
	f.Add("Host(`a.com`)", false, "a.com", "/", "")
	f.Add(`HeadersRegexp("Cookie",".*instance=minion-1.*")`, true, "a.com", "/", "instance=minion-10")
	f.Add(`!HeadersRegexp("Cookie","instance=m") || Path("/x")`, true, "a.com", "/", "instance=mm")
	f.Add("PathPrefix(`/minion-1`)", true, "a.com", "/minion-10", "")
	f.Add("Host(`a.com`, `b.com`) && (PathPrefix(`/x`) || !Path(`/y`))", false, "b.com", "/y", "")
	f.Add("Host(`a.com`) // ", false, "b.com", "/", "")
	f.Add("HOST(`a.com`) || hostregexp(`^b`)", false, "b.com", "/", "")
	f.Add("Host(`a.com`)) || (PathPrefix(`/`)", false, "b.com", "/", "")
	f.Fuzz(func(t *testing.T, text string, instance bool, askedHost, askedPath, askedCookie string) {
		spec := serviceSpec("svc", withLabels("traefik.http.routers.x.rule", text))
		spec.Direct = instance
		checkOwn(t, spec, asked{askedHost, askedPath, askedCookie}, func(r *http.Request) bool {
			return text == "" || ruleTakes(t, text, r)
		})
	})
}

func FuzzAcceptedLabelsMakeNothingForbidden(f *testing.F) {
	f.Add("traefik.http.routers.x.service", "api@internal", "traefik.http.routers.x.tls", "true")
	f.Add("traefik.http.routers.x.entrypoints", "traefik", "traefik.http.services.x.loadbalancer.server.url", "http://1.2.3.4")
	f.Add("traefik.http.middlewares.m.errors.service", "api@internal", "traefik.http.middlewares.m.errors.status", "500")
	f.Add("traefik.http.middlewares.m.chain.middlewares", "m", "traefik.http.routers.x.middlewares", "m")
	f.Add("traefik.http.routers.x].rule", "y", "traefik.http.routers.x[0].rule", "z")
	f.Add("traefik.http.services.x.loadbalancer.server.port", "1", "traefik.http.services.x.loadbalancer.server[1].port", "2")
	f.Add("traefik.http.routers.y.priority", "999999", "traefik.http.routers.y.rule", "PathPrefix(`/`)")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		spec := serviceSpec("svc", withHosts("a.com"), withLabels("traefik.http.routers.x.rule", "Host(`b.com`)", key1, value1, key2, value2))
		if _, err := Check(testSettings(), *spec, nil); err != nil {
			return
		}
		for ready := range 2 {
			document := render(t, testSettings(), View{ACME: true}, routed(spec, ready))
			checkSafe(t, testSettings(), configuration(t, document))
		}
		if labels := ContainerLabels(testSettings(), *spec, 80); len(labels) == 0 {
			t.Error(fmt.Sprint("no labels for ", spec.Labels))
		}
	})
}
