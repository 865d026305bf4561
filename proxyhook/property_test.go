package proxyhook

import (
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"edgespawner/fleet"
)

// Small alphabets, so that what is asked often begins like what is routed.
var (
	someHosts   = rapid.SampledFrom([]string{"a.com", "A.com.", "b.a.com", "xa.com", "10.0.0.1", "bücher.example", "a.com.evil.com"})
	somePaths   = rapid.StringMatching(`(/[ab1é ;:.-]{1,3}){0,3}`)
	someCookies = rapid.StringMatching(`[ab1.|$^+-]{1,3}`)
)

func TestAnAcceptedRouteTakesExactlyItsOwnRequests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		route := fleet.Route{PathPrefix: somePaths.Draw(rt, "path"), TLS: false}
		if rapid.Bool().Draw(rt, "named") {
			route.Hosts = []string{someHosts.Draw(rt, "host"), "other.example.com"}
		}
		if rapid.Bool().Draw(rt, "cookied") {
			route.Cookie = &fleet.Cookie{Name: someCookies.Draw(rt, "name"), Value: someCookies.Draw(rt, "value")}
		}
		spec := serviceSpec("svc", withRoute(route))
		if _, err := Check(testSettings(), *spec, nil); err != nil {
			return
		}
		request, ok := drawRequest(rt, route)
		if !ok {
			return
		}
		want := routeTakes(route, request) && (len(route.Hosts) > 0 || route.PathPrefix != "" || route.Cookie != nil)
		for ready := range 2 {
			document := render(t, testSettings(), View{ACME: true}, routed(spec, ready))
			router := newEdge(t, configuration(t, document), "web", false).router(request)
			if got := strings.HasPrefix(router, "svc-r3-"); got != want {
				rt.Errorf("%s %s, cookie %q: taken %v by %q, want %v; route %+v", request.Host, request.URL.Path, request.Header.Get("Cookie"), got, router, want, route)
			}
		}
		matcher, err := NewMatcher(testSettings(), snapshotOf(routed(spec, 0)))
		if err != nil {
			rt.Fatal(err)
		}
		if _, _, got := matcher.Match(request); got != want {
			rt.Errorf("matched %v, want %v", got, want)
		}
	})
}

// drawRequest asks for something that is near what the route takes.
func drawRequest(rt *rapid.T, route fleet.Route) (*http.Request, bool) {
	host := someHosts.Draw(rt, "asked host")
	if name, err := hostName(host); err == nil && rapid.Bool().Draw(rt, "in ASCII") {
		host = name
	}
	path := somePaths.Draw(rt, "asked path")
	if rapid.Bool().Draw(rt, "below") {
		path = strings.TrimSuffix(route.PathPrefix, "/") + rapid.SampledFrom([]string{"", "/", "/x", "x", "//x"}).Draw(rt, "rest")
	}
	cookie := someCookies.Draw(rt, "asked name") + "=" + someCookies.Draw(rt, "asked value")
	if route.Cookie != nil && rapid.Bool().Draw(rt, "with the cookie") {
		cookie = rapid.SampledFrom([]string{"", "z=1; ", "x"}).Draw(rt, "before") + route.Cookie.Name + "=" + route.Cookie.Value +
			rapid.SampledFrom([]string{"", "; z=1", "0", " ;z=1"}).Draw(rt, "after")
	}
	return asked{host, strings.ReplaceAll("/"+strings.TrimPrefix(path, "/"), " ", "%20"), cookie}.request()
}
