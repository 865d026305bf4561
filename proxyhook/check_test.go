package proxyhook

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"edgespawner/fleet"
)

// fieldsOf returns the fields of all mistakes in err, and whether each is an *fleet.Error of the kind.
func fieldsOf(t *testing.T, err error, kind fleet.Kind) []string {
	t.Helper()
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var fields []string
	for _, one := range list {
		var seen *fleet.Error
		if !errors.As(one, &seen) {
			t.Fatalf("%v is no *fleet.Error", one)
		}
		if seen.Kind != kind {
			t.Errorf("%v is of kind %s, want %s", seen, seen.Kind, kind)
		}
		if seen.Message == "" {
			t.Errorf("the mistake in %s says nothing", seen.Field)
		}
		fields = append(fields, seen.Field)
	}
	return fields
}

// unroutable are specs that no edge can route, each with the fields that are
// wrong, with a blank between them.
func unroutable() []refusal {
	const r, m, s = "traefik.http.routers.", "traefik.http.middlewares.", "traefik.http.services."
	rule := []string{r + "x.rule", "Host(`x.com`)"}
	labels := func(pairs ...string) *fleet.Spec { return serviceSpec("svc", withLabels(append(pairs, rule...)...)) }
	route := func(route fleet.Route) *fleet.Spec { return serviceSpec("svc", withRoute(route)) }
	cookie := func(name, value string) *fleet.Spec {
		return route(fleet.Route{Hosts: []string{"a.com"}, Cookie: &fleet.Cookie{Name: name, Value: value}})
	}
	return []refusal{
		{"host with a port", route(fleet.Route{Hosts: []string{"a.com:80"}}), "route.hosts[0]"},
		{"host as a URL", route(fleet.Route{Hosts: []string{"http://a.com"}}), "route.hosts[0]"},
		{"host with a blank", route(fleet.Route{Hosts: []string{"ok.com", "a b.com"}}), "route.hosts[1]"},
		{"host with a backtick", route(fleet.Route{Hosts: []string{"a`) || PathPrefix(`/"}}), "route.hosts[0]"},
		{"host with a wildcard", route(fleet.Route{Hosts: []string{"*.a.com"}}), "route.hosts[0]"},
		{"empty host", route(fleet.Route{Hosts: []string{""}}), "route.hosts[0]"},
		{"host that is too long", route(fleet.Route{Hosts: []string{strings.Repeat("a", 64) + ".com"}}), "route.hosts[0]"},
		{"the probe's host", route(fleet.Route{Hosts: []string{"PROBE.invalid"}}), "route.hosts[0]"},
		{"certificate for an address", route(fleet.Route{Hosts: []string{"10.0.0.1"}, TLS: true}), "route.hosts[0]"},
		{"two bad hosts", route(fleet.Route{Hosts: []string{"a_b", "b:1"}}), "route.hosts[0] route.hosts[1]"},
		{"path without a slash", route(fleet.Route{PathPrefix: "x"}), "route.path_prefix"},
		{"path with a backtick", route(fleet.Route{PathPrefix: "/x`"}), "route.path_prefix"},
		{"path with dots", route(fleet.Route{PathPrefix: "/x/../y"}), "route.path_prefix"},
		{"path with a query", route(fleet.Route{PathPrefix: "/x?y"}), "route.path_prefix"},
		{"path with an escape", route(fleet.Route{PathPrefix: "/x%2Fy"}), "route.path_prefix"},
		{"path with a line break", route(fleet.Route{PathPrefix: "/x\ny"}), "route.path_prefix"},
		{"cookie name with a blank", cookie("a b", "c"), "route.cookie.name"},
		{"cookie name with a backtick", cookie("a`", "c"), "route.cookie.name"},
		{"empty cookie", cookie("", ""), "route.cookie.name route.cookie.value"},
		{"cookie value with a semicolon", cookie("a", "b;c"), "route.cookie.value"},
		{"cookie value with a quote", cookie("a", `b"`), "route.cookie.value"},
		{"cookie value with a backtick", cookie("a", "b`"), "route.cookie.value"},
		{"protocol", route(fleet.Route{Hosts: []string{"a.com"}, Protocol: "ftp"}), "route.protocol"},

		{"reserved key", labels("spawner.fleet", "x", "origin", "y", "com.docker.compose.project", "z"), "labels.com.docker.compose.project labels.origin labels.spawner.fleet"},
		{"api@internal", labels(r+"x.service", "api@internal"), "labels." + r + "x.service"},
		{"service of a file", labels(r+"x.service", "other@file"), "labels." + r + "x.service"},
		{"unknown service", labels(r+"x.service", "nope"), "labels." + r + "x.service"},
		{"middleware of a file", labels(r+"x.middlewares", "auth@file"), "labels." + r + "x.middlewares"},
		{"unknown middleware", labels(r+"x.middlewares", "nope"), "labels." + r + "x.middlewares"},
		{"server URL", labels(s+"x.loadbalancer.server.url", "http://10.0.0.1"), "labels." + s + "x.loadbalancer.server.url"},
		{"server port", labels(s+"x.loadbalancer.server.port", "99999"), "labels." + s + "x.loadbalancer.server.port"},
		{"server scheme", labels(s+"x.loadbalancer.server.scheme", "ftp"), "labels." + s + "x.loadbalancer.server.scheme"},
		{"transport", labels(s+"x.loadbalancer.serverstransport", "x@file"), "labels." + s + "x.loadbalancer.serverstransport"},
		{"strategy", labels(s+"x.loadbalancer.strategy", "best"), "labels." + s + "x.loadbalancer.strategy"},
		{"weighted service", labels(s+"x.weighted.services[0].name", "api@internal"), "labels." + s + "x.weighted.services[0].name"},
		{"two load balancers", labels(s+"x.loadbalancer.server.port", "1", s+"y.loadbalancer.server.port", "2"), "labels." + s + "y.loadbalancer.server.port"},
		{"transports", labels("traefik.http.serverstransports.x.insecureskipverify", "true"), "labels.traefik.http.serverstransports.x.insecureskipverify"},
		{"parent", labels(r+"x.parentrefs", "y"), "labels." + r + "x.parentrefs"},
		{"TCP", labels("traefik.tcp.routers.x.rule", "HostSNI(`*`)"), "labels.traefik.tcp.routers.x.rule"},
		{"UDP", labels("traefik.udp.services.x.loadbalancer.server.port", "1"), "labels.traefik.udp.services.x.loadbalancer.server.port"},
		{"default certificate", labels("traefik.tls.stores.default.defaultgeneratedcert.resolver", "x"), "labels.traefik.tls.stores.default.defaultgeneratedcert.resolver"},
		{"plugin", labels(m+"x.plugin.demo.a", "b"), "labels." + m + "x.plugin.demo.a"},
		{"version 1", labels("traefik.frontend.rule", "Host:x"), "labels.traefik.frontend.rule"},
		{"enable", labels("traefik.enable", "maybe"), "labels.traefik.enable"},
		{"misspelt setting", labels(r+"x.rul", "y"), "labels." + r + "x.rul"},
		{"misspelt setting in depth", labels(m+"x.ratelimit.avrage", "1"), "labels." + m + "x.ratelimit.avrage"},
		{"misspelt middleware", labels(m+"x.ratelimits.average", "1"), "labels." + m + "x.ratelimits.average"},
		{"no number", labels(m+"x.ratelimit.average", "many"), "labels." + m + "x.ratelimit.average"},
		{"bracket", labels(r+"x].rule", "y"), "labels." + r + "x].rule"},
		{"name of another", labels(r+"x-r1-y.rule", "Host(`y.com`)"), "labels." + r + "x-r1-y.rule"},
		{"one label in two spellings", labels(r+"X.rule", "Host(`y.com`)"), "labels." + r + "x.rule"},
		{"entry point", labels(r+"x.entrypoints", "web,traefik"), "labels." + r + "x.entrypoints"},
		{"priority too high", labels(r+"x.priority", "1000000"), "labels." + r + "x.priority"},
		{"priority too low", labels(r+"x.priority", "-1"), "labels." + r + "x.priority"},
		{"TLS options", labels(r+"x.tls.options", "weak@file"), "labels." + r + "x.tls.options"},
		{"resolver", labels(r+"x.tls.certresolver", "other"), "labels." + r + "x.tls.certresolver"},
		{"rule syntax", labels(r+"x.rulesyntax", "v4"), "labels." + r + "x.rulesyntax"},
		{"no rule", serviceSpec("svc", withLabels(r+"x.entrypoints", "web")), "labels." + r + "x.rule"},
		{"broken rule", serviceSpec("svc", withLabels(r+"x.rule", "Host(`a`) &&")), "labels." + r + "x.rule"},
		{"unknown matcher", serviceSpec("svc", withLabels(r+"x.rule", "Cookie(`a`)")), "labels." + r + "x.rule"},
		{"rule that ends in a comment", serviceSpec("svc", withLabels(r+"x.rule", "Host(`a.com`) // x")), "labels." + r + "x.rule"},
		{"a part of the route", serviceSpec("svc", withHosts("x.com", "y.com"), withLabels(rule...)), "labels." + r + "x.rule"},
		{"two routers without a rule", serviceSpec("svc", withHosts("x.com"), withLabels(r+"a.priority", "5", r+"b.priority", "6")), "labels." + r + "b.rule"},

		{"two kinds in one", labels(m+"x.addprefix.prefix", "/a", m+"x.compress", "true"), "labels." + m + "x.addprefix.prefix"},
		{"forwardAuth", labels(m+"x.forwardauth.address", "http://10.0.0.1"), "labels." + m + "x.forwardauth.address"},
		{"file of users", labels(m+"x.basicauth.usersfile", "/dev/zero"), "labels." + m + "x.basicauth.usersfile"},
		{"users", labels(m+"x.basicauth.users", "nobody"), "labels." + m + "x.basicauth.users"},
		{"redis", labels(m+"x.ratelimit.redis.endpoints", "10.0.0.1:6379"), "labels." + m + "x.ratelimit.redis.endpoints"},
		{"addresses", labels(m+"x.ipallowlist.sourcerange", "10.0.0.0/99"), "labels." + m + "x.ipallowlist.sourcerange"},
		{"pattern", labels(m+"x.replacepathregex.regex", "("), "labels." + m + "x.replacepathregex.regex"},
		{"breaker", labels(m+"x.circuitbreaker.expression", "Nope() >"), "labels." + m + "x.circuitbreaker.expression"},
		{"buffers", labels(m+"x.buffering.maxrequestbodybytes", "-1"), "labels." + m + "x.buffering.maxrequestbodybytes"},
		{"content types", labels(m+"x.compress.includedcontenttypes", "a b/"), "labels." + m + "x.compress.includedcontenttypes"},
		{"depth", labels(m+"x.ratelimit.average", "1", m+"x.ratelimit.sourcecriterion.ipstrategy.ipv6subnet", "200"), "labels." + m + "x.ratelimit.sourcecriterion.ipstrategy.ipv6subnet"},
		{"retries", labels(m+"x.retry.attempts", "0", m+"x.retry.initialinterval", "1s"), "labels." + m + "x.retry.attempts"},
		{"own header", labels(m+"x.headers.customrequestheaders.X_Spawner-Edge", "y"), "labels." + m + "x.headers.customrequestheaders.X_Spawner-Edge"},
		{"error pages of another", labels(m+"x.errors.status", "500", m+"x.errors.service", "api@internal"), "labels." + m + "x.errors.service"},
		{"chain of nothing known", labels(m+"x.chain.middlewares", "y"), "labels." + m + "x.chain.middlewares"},
		{"chain to itself", labels(m+"x.chain.middlewares", "x"), "labels." + m + "x.chain.middlewares"},
		{"sticky cookie", labels(s+"x.loadbalancer.sticky.cookie.name", "a b"), "labels." + s + "x.loadbalancer.sticky.cookie.name"},
	}
}

type refusal struct {
	name string
	spec *fleet.Spec
	want string
}

func TestCheckNamesTheFieldThatNoEdgeCanRoute(t *testing.T) {
	for _, c := range unroutable() {
		t.Run(c.name, func(t *testing.T) {
			_, err := Check(testSettings(), *c.spec, nil)
			if err == nil {
				t.Fatal("Check() accepted it")
			}
			if got := strings.Join(fieldsOf(t, err, fleet.Invalid), " "); got != c.want {
				t.Errorf("fields %s, want %s (%v)", got, c.want, err)
			}
		})
	}
}

func TestCheckNeedsAnEntryPointForTLS(t *testing.T) {
	s := testSettings()
	s.WebSecure = ""
	_, err := Check(s, *serviceSpec("svc", withRoute(fleet.Route{Hosts: []string{"a.com"}, TLS: true})), nil)
	if got := strings.Join(fieldsOf(t, err, fleet.Invalid), " "); got != "route.tls" {
		t.Errorf("fields %s, want route.tls", got)
	}
	_, err = Check(s, *serviceSpec("svc", withLabels("traefik.http.routers.x.rule", "Host(`a.com`)", "traefik.http.routers.x.tls", "true")), nil)
	if got := strings.Join(fieldsOf(t, err, fleet.Invalid), " "); got != "labels.traefik.http.routers.x.tls" {
		t.Errorf("fields %s, want the label", got)
	}
}

func TestCheckAcceptsForwardAuthWhereItIsAllowed(t *testing.T) {
	s := testSettings()
	s.AllowForwardAuth = true
	spec := serviceSpec("svc", withLabels("traefik.http.routers.x.rule", "Host(`a.com`)", "traefik.http.routers.x.middlewares", "auth",
		"traefik.http.middlewares.auth.forwardauth.address", "http://auth:4181"))
	if _, err := Check(s, *spec, nil); err != nil {
		t.Errorf("Check() = %v", err)
	}
}

func TestCheckWarnsOfWhatItChanged(t *testing.T) {
	s := testSettings()
	noResolver := testSettings()
	noResolver.CertResolver = ""
	const rule = "traefik.http.routers.x.rule"
	cases := []struct {
		name     string
		settings Settings
		spec     *fleet.Spec
		want     string // a part of the only warning; empty = no warning
	}{
		{"a plain host", s, serviceSpec("svc", withHosts("a.com")), ""},
		{"a middleware without a router of its own", s, serviceSpec("svc", withHosts("a.com"), withLabels("traefik.http.middlewares.m.compress", "true")), ""},
		{"a middleware that nobody names", s, serviceSpec("svc", withLabels("traefik.http.middlewares.m.compress", "true", rule, "Host(`a.com`)")), "m is named by no router"},
		{"cookie of the older API, v2", s, minionCookie(1), "exactly the cookie instance=minion-1"},
		{"cookie of the older API, v3", s, serviceSpec("svc", withLabels(rule, "HeaderRegexp(`Cookie`, `.*instance=minion-1.*`)")), "exactly the cookie instance=minion-1"},
		{"path of the older API", s, minionPath(1), "this path and what is below it"},
		{"an exact cookie", s, serviceSpec("svc", withLabels(rule, "HeaderRegexp(`Cookie`, `(^|; )a=b(;|$)`)")), ""},
		{"v2", s, serviceSpec("svc", withLabels(rule, "Host(`a.com`, `b.com`)")), "Traefik v2"},
		{"v2 in disguise", s, serviceSpec("svc", withLabels(rule, "HostRegexp(`{sub:[a-z]+}.a.com`)")), "rulesyntax=v2"},
		{"a count of v3", s, serviceSpec("svc", withLabels(rule, "HostRegexp(`^[a-z]{3}.a.com$`)")), ""},
		{"switched off", s, serviceSpec("svc", withLabels(rule, "Host(`a.com`)", "traefik.enable", "false")), "traefik.enable is false"},
		{"health check", s, serviceSpec("svc", withHosts("a.com"), withLabels("traefik.http.services.x.loadbalancer.healthcheck.path", "/")), "health check was left out"},
		{"no resolver", noResolver, serviceSpec("svc", withRoute(fleet.Route{Hosts: []string{"a.com"}, TLS: true})), "no certificate resolver"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			warnings, err := Check(c.settings, *c.spec, nil)
			if err != nil {
				t.Fatalf("Check() = %v", err)
			}
			got := strings.Join(warnings, "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || len(warnings) > 1 {
				t.Errorf("warnings %q, want one that says %q", warnings, c.want)
			}
		})
	}
}

func TestCheckRefusesWhatAnotherServiceTakes(t *testing.T) {
	host := func(name string, hosts ...string) *fleet.Spec { return serviceSpec(name, withHosts(hosts...)) }
	full := func(name, path, cookie string) *fleet.Spec {
		route := fleet.Route{Hosts: []string{"a.com"}, PathPrefix: path}
		if cookie != "" {
			route.Cookie = &fleet.Cookie{Name: "instance", Value: cookie}
		}
		return serviceSpec(name, withRoute(route))
	}
	label := func(name, rule string) *fleet.Spec {
		return serviceSpec(name, withLabels("traefik.http.routers.x.rule", rule))
	}
	cases := []struct {
		name       string
		spec, seen *fleet.Spec
		want       string // the field; empty = both stand beside each other
	}{
		{"one host", host("new", "b.com", "A.com."), host("old", "a.com"), "route.hosts[1]"},
		{"other hosts", host("new", "a.com"), host("old", "b.com"), ""},
		{"itself", host("old", "a.com"), host("old", "a.com"), ""},
		{"host and host with path", full("new", "/x", ""), host("old", "a.com"), ""},
		{"one path", full("new", "/x/", ""), full("old", "/x", ""), "route.hosts[0]"},
		{"paths of one beginning", full("new", "/x", ""), full("old", "/x1", ""), ""},
		{"one cookie", full("new", "", "m-1"), full("old", "", "m-1"), "route.hosts[0]"},
		{"cookies of one beginning", full("new", "", "m-1"), full("old", "", "m-10"), ""},
		{"cookie without a host", serviceSpec("new", withRoute(fleet.Route{Cookie: &fleet.Cookie{Name: "instance", Value: "minion-1"}})), minionCookie(1), "route.cookie"},
		{"path without a host", serviceSpec("new", withRoute(fleet.Route{PathPrefix: "/minion-1"})), minionPath(1), "route.path_prefix"},
		{"minions", minionCookie(1), minionCookie(10), ""},
		{"the whole site", serviceSpec("new", withRoute(fleet.Route{PathPrefix: "/"})), label("old", "PathPrefix(`/`)"), "route.path_prefix"},
		{"two labels", label("new", "host( `A.com` )&&Path(`/x`)"), label("old", "Path(`/x`) && Host(`a.com`)"), "labels.traefik.http.routers.x.rule"},
		{"label and route", label("new", "Host(`b.com`) || Host(`a.com`)"), host("old", "a.com"), "labels.traefik.http.routers.x.rule"},
		{"route and label of v2", host("new", "a.com"), label("old", "Host(`b.com`, `a.com`)"), "route.hosts[0]"},
		{"not and plain", label("new", "!Host(`a.com`)"), host("old", "a.com"), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			accepted(t, c.spec)
			accepted(t, c.seen)
			_, err := Check(testSettings(), *c.spec, []fleet.Spec{*host("else", "else.com"), *c.seen})
			switch {
			case c.want == "" && err != nil:
				t.Errorf("Check() = %v, want none", err)
			case c.want != "" && err == nil:
				t.Error("Check() saw no clash")
			case c.want != "":
				if got := strings.Join(fieldsOf(t, err, fleet.Conflict), " "); got != c.want {
					t.Errorf("field %s, want %s (%v)", got, c.want, err)
				}
				if !strings.Contains(err.Error(), "service "+c.seen.Name+" ") {
					t.Errorf("%v does not name the other service", err)
				}
			}
		})
	}
}

func TestARouterWithoutARuleTakesTheRoutesPlace(t *testing.T) {
	for name, labels := range map[string][]string{
		"without a rule":     {"traefik.http.routers.mine.middlewares", "auth"},
		"with the same rule": {"traefik.http.routers.mine.middlewares", "auth", "traefik.http.routers.mine.rule", "Host(`a.com`)"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := serviceSpec("svc", withHosts("a.com"), withLabels(labels...), withLabels("traefik.http.middlewares.auth.basicauth.users", "a:b"))
			accepted(t, spec)
			http := configuration(t, render(t, testSettings(), View{}, routed(spec, 0)))
			for router, drawn := range http.Routers {
				if strings.HasPrefix(router, "svc-") && (!strings.HasPrefix(router, "svc-r3-mine") || len(drawn.Middlewares) != 1) {
					t.Errorf("%s has the middlewares %v", router, drawn.Middlewares)
				}
			}
			if http.Routers["svc-r3-mine"] == nil || http.Routers["svc-r3-mine"].Rule != "Host(`a.com`)" {
				t.Error("the router mine does not have the route's rule")
			}
		})
	}
}

func TestAnInstanceWithoutARuleIsRoutedByItsCookie(t *testing.T) {
	spec := serviceSpec("minion-7", direct)
	rule := "HeaderRegexp(`Cookie`, `(^|;\\s*)instance=\"?minion-7\"?\\s*(;|$)`)"
	http := configuration(t, render(t, testSettings(), View{}, routed(spec, 0)))
	if router := http.Routers["minion-7-r3-route"]; router == nil || router.Rule != rule {
		t.Errorf("router %+v, want the rule %s", router, rule)
	}
}

func TestLabelRoutersAreServedWhereTheyAsk(t *testing.T) {
	const rule, points, secure = "traefik.http.routers.x.rule", "traefik.http.routers.x.entrypoints", "traefik.http.routers.x.tls"
	cases := []struct {
		name   string
		labels []string
		direct bool
		want   string // routers with their entry points and TLS
	}{
		{"nothing said", nil, false, "x:web x~tls:websecure+tls"},
		{"web", []string{points, "web"}, false, "x:web"},
		{"TLS", []string{secure, "true"}, false, "x:websecure+tls x~redirect:web"},
		{"no TLS", []string{secure, "false"}, false, "x:web x~tls:websecure+tls"},
		{"websecure", []string{points, "websecure"}, false, "x:websecure+tls x~redirect:web"},
		{"both", []string{points, "websecure, web"}, false, "x:web x~tls:websecure+tls"},
		{"both with TLS", []string{points, "web,websecure", secure, "true"}, false, "x:web,websecure+tls x~redirect:web"},
		{"an instance of the older tool", []string{points, "websecure", secure, "true"}, true, "x:web x~tls:websecure+tls"},
		{"redirected by the user", []string{secure, "true", "traefik.http.routers.y.rule", "Host( `a.com`)", "traefik.http.routers.y.entrypoints", "web"}, false,
			"x:websecure+tls y:web"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spec := serviceSpec("svc", withLabels(rule, "Host(`a.com`)"), withLabels(c.labels...))
			spec.Direct = c.direct
			accepted(t, spec)
			var got []string
			routers := configuration(t, render(t, testSettings(), View{}, routed(spec, 0))).Routers
			for _, name := range slices.Sorted(maps.Keys(routers)) {
				if local, ok := strings.CutPrefix(name, "svc-r3-"); ok {
					line := local + ":" + strings.Join(routers[name].EntryPoints, ",")
					if routers[name].TLS != nil {
						line += "+tls"
					}
					got = append(got, line)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("routers %s, want %s", strings.Join(got, " "), c.want)
			}
		})
	}
}
