package proxyhook

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/containous/alice"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/middlewares/requestdecorator"
	httpmuxer "github.com/traefik/traefik/v3/pkg/muxer/http"

	"edgespawner/fleet"
)

// site is a fleet with rules of every kind that overlap.
func site() *fleet.Snapshot {
	hosts := make([]string, 40)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("www-%d.example.com", i)
	}
	cookie := func(value string) *fleet.Cookie { return &fleet.Cookie{Name: "instance", Value: value} }
	return snapshotOf(
		routed(serviceSpec("many", withHosts(append(hosts, "shop.example.com")...)), 1),
		routed(serviceSpec("path", withRoute(fleet.Route{Hosts: []string{"shop.example.com"}, PathPrefix: "/cart"})), 0),
		routed(serviceSpec("deep", withRoute(fleet.Route{Hosts: []string{"shop.example.com"}, PathPrefix: "/cart/old", StripPrefix: true})), 0),
		routed(serviceSpec("canary", withRoute(fleet.Route{Hosts: []string{"shop.example.com"}, Cookie: cookie("canary")})), 1),
		routed(minionCookie(1), 1), routed(minionCookie(10), 0), routed(minionPath(2), 1),
		routed(serviceSpec("secure", withRoute(fleet.Route{Hosts: []string{"secure.example.com"}, TLS: true})), 1),
		routed(serviceSpec("office", withLabels("traefik.http.routers.x.rule", "Host(`office.example.com`) && ClientIP(`10.0.0.0/8`)")), 1),
		routed(serviceSpec("plain", withLabels("traefik.http.routers.x.rule", "Host(`plain.example.com`)", "traefik.http.routers.x.entrypoints", "web")), 1),
		routed(serviceSpec("first", withLabels("traefik.http.routers.x.rule", "PathPrefix(`/`) && Query(`first`)", "traefik.http.routers.x.priority", "9999")), 1),
	)
}

func TestTheMatcherAnswersAsAnEdgeWould(t *testing.T) {
	matcher, err := NewMatcher(testSettings(), site())
	if err != nil {
		t.Fatalf("NewMatcher() = %v", err)
	}
	cases := []struct {
		url, cookie, proto string
		want               string // the service, and ! when it is guarded
	}{
		{"http://shop.example.com/", "", "", "many"},
		{"http://SHOP.example.com:8080/x", "", "", "many"},
		{"http://shop.example.com./x", "", "", "many"},
		{"http://shop.example.com/cart", "", "", "path"},
		{"http://shop.example.com/cart/new", "", "", "path"},
		{"http://shop.example.com/carts", "", "", "many"},
		{"http://shop.example.com/cart/old/x", "", "", "deep!"},
		{"http://shop.example.com/cart", "instance=canary", "", "canary"},
		{"http://shop.example.com/", "instance=minion-1", "", "many"},
		{"http://else.example.com/", "instance=minion-1", "", "minion-1"},
		{"http://else.example.com/", `a=b; instance="minion-1"; c=d`, "https", "minion-1"},
		{"http://else.example.com/", "instance=minion-10", "", "minion-10"},
		{"http://else.example.com/", "instance=minion-100", "", ""},
		{"http://else.example.com/", "xinstance=minion-1", "", ""},
		{"http://else.example.com/minion-2/status", "", "", "minion-2!"},
		{"http://else.example.com/minion-2/status", "", "https", ""}, // its labels name the plain entry point alone
		{"http://else.example.com/minion-20", "", "", ""},
		{"http://secure.example.com/", "", "http", "secure"},
		{"http://secure.example.com/", "", "https", "secure"},
		{"https://plain.example.com/", "", "", ""},
		{"http://plain.example.com/", "", "", "plain"},
		{"http://plain.example.com/", "", "wss", ""},
		{"http://office.example.com/", "", "", "office!"},
		{"http://shop.example.com/cart?first", "", "", "first"},
		{"http://else.example.com/", "", "", ""},
	}
	for _, c := range cases {
		request := httptest.NewRequest(http.MethodGet, c.url, nil)
		request.RemoteAddr = "10.0.0.9:1234"
		if c.cookie != "" {
			request.Header.Set("Cookie", c.cookie)
		}
		if c.proto != "" {
			request.Header.Set("X-Forwarded-Proto", c.proto)
		}
		got, guarded, ok := matcher.Match(request)
		if guarded {
			got += "!"
		}
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s with cookie %q by %q: %q, want %q", c.url, c.cookie, c.proto, got, c.want)
		}
	}
}

// edge is what an edge makes of the routers of a document on one entry point,
// apart from the middlewares: it answers the name of the router.
type edge struct {
	handler http.Handler
	config  *dynamic.HTTPConfiguration
}

func newEdge(t *testing.T, config *dynamic.HTTPConfiguration, entryPoint string, secure bool) edge {
	t.Helper()
	parser, err := httpmuxer.NewSyntaxParser()
	if err != nil {
		t.Fatal(err)
	}
	muxer := httpmuxer.NewMuxer(parser, nil)
	for name, router := range config.Routers {
		if !slices.Contains(router.EntryPoints, entryPoint) || (router.TLS != nil) != secure {
			continue
		}
		err := muxer.AddRoute(router.Rule, router.RuleSyntax, router.Priority, "http", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Router", name)
		}))
		if err != nil {
			t.Fatalf("an edge refuses the router %s: %v", name, err)
		}
	}
	handler, err := alice.New(requestdecorator.WrapHandler(requestdecorator.New(nil))).Then(muxer)
	if err != nil {
		t.Fatal(err)
	}
	return edge{handler, config}
}

// router returns the name of the router that takes the request.
func (e edge) router(r *http.Request) string {
	answer := httptest.NewRecorder()
	e.handler.ServeHTTP(answer, r)
	return answer.Header().Get("Router")
}

func TestTheMatcherAgreesWithTheDocument(t *testing.T) {
	snapshot := site()
	document, err := Render(testSettings(), snapshot, View{ACME: true})
	if err != nil {
		t.Fatal(err)
	}
	config := configuration(t, document)
	matcher, err := NewMatcher(testSettings(), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	edges := map[bool]edge{false: newEdge(t, config, "web", false), true: newEdge(t, config, "websecure", true)}
	count := 0
	for _, host := range []string{"shop.example.com", "www-3.example.com", "secure.example.com", "office.example.com", "plain.example.com", "else.example.com"} {
		for _, path := range []string{"/", "/cart", "/cart/old/a", "/carts", "/minion-2/a", "/minion-20", "/x?first"} {
			for _, cookie := range []string{"", "instance=canary", "instance=minion-1", "instance=minion-10; instance=minion-1"} {
				for _, secure := range []bool{false, true} {
					request := httptest.NewRequest(http.MethodGet, "http://"+host+path, nil)
					request.Header.Set("X-Forwarded-Proto", "http")
					request.Header.Set("Cookie", cookie)
					if secure {
						request.TLS = &tls.ConnectionState{}
						request.Header.Del("X-Forwarded-Proto")
					}
					got, _, _ := matcher.Match(request)
					want := edges[secure].router(request)
					if strings.HasPrefix(want, sharedPrefix) {
						want = ""
					}
					want, _, _ = strings.Cut(want, "-r3-")
					if got != want {
						t.Errorf("%s%s, cookie %q, TLS %v: matched %q, the edge's router is of %q", host, path, cookie, secure, got, want)
					}
					count++
				}
			}
		}
	}
	if count < 300 {
		t.Errorf("only %d requests were tried", count)
	}
}

func TestTheMatcherOfTheSameRoutesIsNotMadeAnew(t *testing.T) {
	snapshot := site()
	first, err := NewMatcher(testSettings(), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	woken := &fleet.Snapshot{Version: 2, Services: slices.Clone(snapshot.Services)}
	woken.Services[0].Endpoints = routed(woken.Services[0].Spec, 2).Endpoints
	second, err := NewMatcher(testSettings(), woken)
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodGet, "http://shop.example.com/", nil)
	if allocations := testing.AllocsPerRun(100, func() { _, _ = NewMatcher(testSettings(), woken) }); allocations > 50 {
		t.Errorf("%v allocations for a matcher that is known", allocations)
	}
	for _, matcher := range []*Matcher{first, second} {
		if service, _, ok := matcher.Match(request); !ok || service != "many" {
			t.Errorf("Match() = %q, %v, want many", service, ok)
		}
	}
}

func TestRenderAndMatchersMayBeAskedAtOnce(t *testing.T) {
	snapshot := site()
	done := make(chan error)
	for i := range 8 {
		go func() {
			changed := &fleet.Snapshot{Services: slices.Clone(snapshot.Services)}
			changed.Services[i%4].Endpoints = routed(changed.Services[i%4].Spec, i).Endpoints
			_, err := Render(testSettings(), changed, View{ACME: i%2 == 0})
			if err == nil {
				var matcher *Matcher
				if matcher, err = NewMatcher(testSettings(), changed); err == nil {
					matcher.Match(httptest.NewRequest(http.MethodGet, "http://shop.example.com/", nil))
				}
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestWhatMayNotBeCarriedOutTwiceIsKeptFromTheRetryOfAnotherReplica: Traefik takes
// all methods but POST, PATCH and LOCK for such as may be.
func TestWhatMayNotBeCarriedOutTwiceIsKeptFromTheRetryOfAnotherReplica(t *testing.T) {
	for _, syntax := range []string{"v3", "v2"} {
		rule := map[string]string{"v3": "Host(`a.com`)", "v2": "Host(`a.com`, `b.com`)"}[syntax]
		spec := serviceSpec("dav", withLabels("traefik.http.routers.dav.rule", rule, "traefik.http.routers.dav.ruleSyntax", syntax))
		for replicas, strange := range map[int]string{1: "dav-r3-failover", 2: "dav-r3-app"} {
			config := configuration(t, render(t, testSettings(), View{}, routed(spec, replicas)))
			edge := newEdge(t, config, "web", false)
			for method, wanted := range map[string]string{
				"GET": "dav-r3-failover", "HEAD": "dav-r3-failover", "PUT": "dav-r3-failover", "DELETE": "dav-r3-failover", "POST": "dav-r3-failover", "PATCH": "dav-r3-failover",
				"MOVE": strange, "MKCOL": strange, "PROPFIND": strange,
			} {
				request := httptest.NewRequest(method, "http://a.com/x", nil)
				request.Header.Set("Content-Length", "0")
				if got := config.Routers[edge.router(request)].Service; got != wanted {
					t.Errorf("%s, %d replicas: %s leads to %s, want %s", syntax, replicas, method, got, wanted)
				}
			}
			guard := config.Services["dav-r3-guard"].Middlewares
			if asks := slices.Contains(guard, sharedOtherReplica); asks != (replicas > 1) {
				t.Errorf("%s, %d replicas: the guard has %v", syntax, replicas, guard)
			}
		}
	}
}
