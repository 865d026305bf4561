package proxyhook

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/traefik/paerser/file"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"

	"edgespawner/fleet"
)

var update = flag.Bool("update", false, "write the golden files anew")

func render(t *testing.T, s Settings, v View, services ...fleet.Routed) *Document {
	t.Helper()
	document, err := Render(s, snapshotOf(services...), v)
	if err != nil {
		t.Fatalf("Render() = %v", err)
	}
	if len(document.LeftOut) > 0 {
		t.Fatalf("Render() left out %v", document.LeftOut)
	}
	return document
}

// configuration decodes a document as an edge does: any unknown field is an error.
func configuration(t *testing.T, document *Document) *dynamic.HTTPConfiguration {
	t.Helper()
	decoded := &dynamic.Configuration{}
	if err := file.DecodeContent(string(document.JSON), ".yaml", decoded); err != nil {
		t.Fatalf("an edge refuses the document: %v\n%s", err, document.JSON)
	}
	return decoded.HTTP
}

func TestRenderMakesTheDocumentsInTestdata(t *testing.T) {
	off := false
	blog := withHosts("blog.example.com")
	bare := testSettings()
	bare.CatchAll, bare.ProbeHost, bare.WebSecure = false, "", ""
	certificate := testSettings()
	certificate.DefaultCertificate, certificate.CertificatePEM, certificate.KeyPEM = true, "-----CERT-----", "-----KEY-----"
	certificate.HTTPSPort = 8443
	acme := View{Edge: "one", ACME: true}
	cases := []struct {
		name     string
		settings Settings
		view     View
		services []fleet.Routed
	}{
		{"nothing", testSettings(), acme, nil},
		{"nothing-bare", bare, acme, nil},
		{"asleep", testSettings(), acme, []fleet.Routed{routed(serviceSpec("blog", blog), 0)}},
		{"awake", testSettings(), acme, []fleet.Routed{routed(serviceSpec("blog", blog), 1)}},
		{"awake-replicas-bare", bare, acme, []fleet.Routed{routed(serviceSpec("blog", blog), 3)}},
		{"cookie", bare, acme, []fleet.Routed{routed(serviceSpec("site", withRoute(fleet.Route{
			Hosts: []string{"site.example.com"}, Cookie: &fleet.Cookie{Name: "instance", Value: "minion.1"}})), 1)}},
		{"path-strip", bare, acme, []fleet.Routed{routed(serviceSpec("docs", withRoute(fleet.Route{
			Hosts: []string{"a.example.com", "B.Example.Com.", "bücher.example"}, PathPrefix: "/docs/", StripPrefix: true})), 1)}},
		{"h2c", bare, acme, []fleet.Routed{routed(serviceSpec("grpc", withRoute(fleet.Route{Hosts: []string{"grpc.example.com"}, Protocol: "h2c"})), 1)}},
		{"failover-off", bare, acme, []fleet.Routed{routed(serviceSpec("blog", withRoute(fleet.Route{
			Hosts: []string{"blog.example.com"}, Protocol: "https", Failover: &off})), 2)}},
		{"tls", certificate, acme, []fleet.Routed{
			routed(serviceSpec("blog", withRoute(fleet.Route{Hosts: []string{"blog.example.com"}, TLS: true})), 1),
			routed(serviceSpec("shop", withRoute(fleet.Route{Hosts: []string{"shop.example.com"}, TLS: true})), 0)}},
		{"tls-without-resolver", certificate, View{ACME: true, WithoutResolver: map[string]bool{"blog": true}, LeftOut: map[string]bool{"shop": true}}, []fleet.Routed{
			routed(serviceSpec("blog", withRoute(fleet.Route{Hosts: []string{"blog.example.com"}, TLS: true})), 0),
			routed(serviceSpec("shop", withRoute(fleet.Route{Hosts: []string{"shop.example.com"}, TLS: true})), 0)}},
		{"labels", testSettings(), acme, []fleet.Routed{routed(labelled(), 2)}},
		{"labels-on-route", bare, acme, []fleet.Routed{routed(serviceSpec("api",
			withRoute(fleet.Route{Hosts: []string{"api.example.com"}, PathPrefix: "/api", StripPrefix: true}),
			withLabels("traefik.http.middlewares.api-rl.ratelimit.average", "100", "traefik.http.middlewares.a-prefix.addprefix.prefix", "/v2",
				"traefik.http.services.api.loadbalancer.sticky", "true")), 1)}},
		{"direct-cookie", testSettings(), acme, []fleet.Routed{routed(minionCookie(1), 1), routed(minionCookie(10), 0)}},
		{"direct-path", testSettings(), acme, []fleet.Routed{routed(minionPath(1), 1), routed(minionPath(10), 0)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			document := render(t, c.settings, c.view, c.services...)
			configuration(t, document)
			compareGolden(t, c.name, document)
		})
	}
}

// labelled is a service whose labels say all that they may.
func labelled() *fleet.Spec {
	return serviceSpec("shop", withLabels(
		"traefik.enable", "true",
		"traefik.docker.network", "traefiknet",
		"traefik.http.routers.shop.rule", "Host(`shop.example.com`) && PathPrefix(`/buy`)",
		"traefik.http.routers.shop.entrypoints", "websecure",
		"traefik.http.routers.shop.tls.certresolver", "letsencrypt",
		"traefik.http.routers.shop.middlewares", "both@docker",
		"traefik.http.routers.shop.service", "shop@docker",
		"traefik.http.routers.admin.rule", "Host(`admin.example.com`, `root.example.com`)",
		"traefik.http.routers.admin.rulesyntax", "v2",
		"traefik.http.routers.admin.priority", "500",
		"traefik.http.middlewares.both.chain.middlewares", "auth,page",
		"traefik.http.middlewares.auth.basicauth.users", "me:$2y$05$abcdefghijklmnopqrstuv",
		"traefik.http.middlewares.page.errors.status", "500-503",
		"traefik.http.middlewares.page.errors.service", "shop",
		"traefik.http.middlewares.page.errors.query", "/{status}.html",
		"traefik.http.middlewares.gz.compress", "true",
		"traefik.http.services.shop.middlewares", "gz",
		"traefik.http.services.shop.loadbalancer.server.port", "8080",
		"traefik.http.services.shop.loadbalancer.strategy", "p2c",
		"traefik.http.services.shop.loadbalancer.passhostheader", "false",
		"traefik.http.services.shop.loadbalancer.sticky.cookie.secure", "true",
		"traefik.http.services.shop.loadbalancer.healthcheck.path", "/health"))
}

func compareGolden(t *testing.T, name string, document *Document) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, document.JSON, "", "  "); err != nil {
		t.Fatalf("the document is not JSON: %v", err)
	}
	pretty.WriteByte('\n')
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func TestRoutersAreTheSameInEveryStateButForWhatTheyLeadTo(t *testing.T) {
	for _, spec := range []*fleet.Spec{labelled(), minionCookie(1), minionPath(1),
		serviceSpec("blog", withRoute(fleet.Route{Hosts: []string{"a.com"}, PathPrefix: "/x", StripPrefix: true, TLS: true}))} {
		asleep := configuration(t, render(t, testSettings(), View{ACME: true}, routed(spec, 0))).Routers
		awake := configuration(t, render(t, testSettings(), View{ACME: true}, routed(spec, 1))).Routers
		for name, router := range awake {
			if strings.HasSuffix(name, bypassSuffix) {
				main := awake[strings.TrimSuffix(name, bypassSuffix)]
				if router.Priority != main.Priority+1 || !strings.HasPrefix(router.Rule, "("+main.Rule+") && ") {
					t.Errorf("%s: the bypass %s does not stand right above its router", spec.Name, name)
				}
				continue
			}
			other := asleep[name]
			if other == nil {
				t.Errorf("%s: the router %s is not there asleep", spec.Name, name)
				continue
			}
			router.Service, other.Service = "", ""
			if diff := cmp.Diff(other, router); diff != "" {
				t.Errorf("%s: %s differs (-asleep +awake):\n%s", spec.Name, name, diff)
			}
		}
		if len(asleep) > len(awake) {
			t.Errorf("%s has %d routers asleep, %d awake", spec.Name, len(asleep), len(awake))
		}
	}
}

func TestAllNamesInADocumentAreDefinedInIt(t *testing.T) {
	for ready := range 3 {
		for _, spec := range []*fleet.Spec{labelled(), minionCookie(1), minionPath(1), serviceSpec("blog", withHosts("a.com"))} {
			http := configuration(t, render(t, testSettings(), View{ACME: true}, routed(spec, ready)))
			defined := func(middlewares []string, by string) {
				for _, name := range middlewares {
					if http.Middlewares[name] == nil {
						t.Errorf("%s names the middleware %s, which is not there", by, name)
					}
				}
			}
			for name, router := range http.Routers {
				defined(router.Middlewares, name)
				if http.Services[router.Service] == nil {
					t.Errorf("%s leads to %s, which is not there", name, router.Service)
				}
			}
			for name, service := range http.Services {
				defined(service.Middlewares, name)
				if f := service.Failover; f != nil && (http.Services[f.Service] == nil || http.Services[f.Fallback] == nil) {
					t.Errorf("%s names a service that is not there", name)
				}
				if lb := service.LoadBalancer; lb != nil && http.ServersTransports[lb.ServersTransport] == nil {
					t.Errorf("%s names the transport %s, which is not there", name, lb.ServersTransport)
				}
			}
		}
	}
}

// The fallback router believes these headers of a request with the secret: none
// of them may be the client's own.
func TestEveryWayToTheFallbackRouterOverwritesAllHeadersThatItBelieves(t *testing.T) {
	for ready := range 3 {
		for _, spec := range []*fleet.Spec{labelled(), minionCookie(1), minionPath(1), serviceSpec("blog", withHosts("a.com"))} {
			http := configuration(t, render(t, testSettings(), View{ACME: true}, routed(spec, ready)))
			overwritten := func(middlewares []string) bool {
				for _, name := range middlewares {
					headers := http.Middlewares[name].Headers
					if headers == nil || headers.CustomRequestHeaders[HeaderEdge] != testSettings().EdgeSecret {
						continue
					}
					set := slices.Sorted(maps.Keys(headers.CustomRequestHeaders))
					return slices.Equal(set, []string{HeaderConfig, HeaderEdge, HeaderLeg, HeaderService})
				}
				return false
			}
			leads := func(service *dynamic.Service) bool {
				lb := service.LoadBalancer
				return lb != nil && slices.ContainsFunc(lb.Servers, func(s dynamic.Server) bool { return s.URL == testSettings().FallbackURL })
			}
			ways := 0
			for name, router := range http.Routers {
				service := http.Services[router.Service]
				if service.Failover != nil {
					service = http.Services[service.Failover.Fallback]
				}
				if !leads(service) {
					continue
				}
				ways++
				if !overwritten(service.Middlewares) && !overwritten(router.Middlewares) {
					t.Errorf("%s of %s with %d replicas hands on what the client says", name, spec.Name, ready)
				}
			}
			if ways == 0 {
				t.Errorf("no router of %s leads to the fallback router", spec.Name)
			}
		}
	}
}

func TestTheHashIsInTheProbeAndChangesWithTheDocument(t *testing.T) {
	spec := serviceSpec("blog", withHosts("a.com"))
	first := render(t, testSettings(), View{}, routed(spec, 1))
	again := render(t, testSettings(), View{}, routed(spec, 1))
	other := render(t, testSettings(), View{}, routed(spec, 2))
	if !bytes.Equal(first.JSON, again.JSON) || first.Hash != again.Hash {
		t.Error("the same snapshot made two documents")
	}
	if first.Hash == other.Hash {
		t.Error("two documents have one hash")
	}
	probe := configuration(t, first).Middlewares[sharedProbe].Headers.CustomRequestHeaders
	if probe[HeaderConfig] != first.Hash {
		t.Errorf("the probe sends %q, want the document's hash %q", probe[HeaderConfig], first.Hash)
	}
}

func TestAServiceThatIsRefusedNowIsLeftOutAlone(t *testing.T) {
	bad := serviceSpec("bad", withLabels("traefik.http.routers.bad.rule", "Host("))
	good := serviceSpec("good", withHosts("good.com"))
	snapshot := snapshotOf(routed(bad, 1), routed(good, 1), fleet.Routed{Name: "new"})
	document, err := Render(testSettings(), snapshot, View{})
	if err != nil {
		t.Fatalf("Render() = %v", err)
	}
	if document.LeftOut["bad"] == nil || len(document.LeftOut) != 1 {
		t.Errorf("LeftOut = %v, want bad alone", document.LeftOut)
	}
	if configuration(t, document).Routers["good-r3-route"] == nil {
		t.Error("good has no router")
	}
}

func TestRenderNeedsTheFallback(t *testing.T) {
	if _, err := Render(Settings{}, snapshotOf(), View{}); err == nil {
		t.Error("Render without a fallback URL succeeded")
	}
}

func TestTheServiceOfATraefikServiceIsFound(t *testing.T) {
	cases := map[string]string{
		"blog-r3-app@http": "blog", "a-r1-r2-app": "a-r1", "blog-wake@http": "blog", "minion.1-r12-app@http": "minion.1",
		"blog-r3-failover@http": "", "spawner~fallback@http": "", "other@docker": "",
	}
	for name, want := range cases {
		if got, ok := LeafService(name); got != want && (ok || want != "") || ok != (want != "") {
			t.Errorf("LeafService(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
}

// benchmarkSnapshot has so many services, a tenth with labels, half of them awake.
func benchmarkSnapshot(count int) *fleet.Snapshot {
	var services []fleet.Routed
	for i := range count {
		name := fmt.Sprintf("service-%04d", i)
		spec := serviceSpec(name, withHosts(name+".example.com"))
		if i%10 == 0 {
			spec = serviceSpec(name, withLabels("traefik.http.routers.x.rule", "Host(`"+name+".example.com`)",
				"traefik.http.routers.x.middlewares", "rl", "traefik.http.middlewares.rl.ratelimit.average", "100"))
		}
		services = append(services, routed(spec, i%2))
	}
	return snapshotOf(services...)
}

func BenchmarkRender1000ServicesOneChanged(b *testing.B) {
	snapshot := benchmarkSnapshot(1000)
	for i := 0; b.Loop(); i++ {
		changed := routed(snapshot.Services[500].Spec, i%200)
		snapshot.Services[500] = changed
		if _, err := Render(testSettings(), snapshot, View{ACME: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender1000ServicesFromNothing(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		snapshot := benchmarkSnapshot(1000)
		b.StartTimer()
		if _, err := Render(testSettings(), snapshot, View{ACME: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatcher1000ServicesFromNothing(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		snapshot := benchmarkSnapshot(1000)
		b.StartTimer()
		if _, err := NewMatcher(testSettings(), snapshot); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckBeside1000Services(b *testing.B) {
	var others []fleet.Spec
	for _, service := range benchmarkSnapshot(1000).Services {
		others = append(others, *service.Spec)
	}
	spec := *serviceSpec("new", withHosts("new.example.com"))
	for b.Loop() {
		if _, err := Check(testSettings(), spec, others); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatchAmong1000Services(b *testing.B) {
	matcher, err := NewMatcher(testSettings(), benchmarkSnapshot(1000))
	if err != nil {
		b.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodGet, "http://service-0999.example.com/", nil)
	for b.Loop() {
		matcher.Match(request)
	}
}
