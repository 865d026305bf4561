//go:build e2e

package e2e

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

func basicAuth(user, password string) map[string]string {
	return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

func TestBasicAuthGuardsTheWakeToo(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Labels = map[string]string{"traefik.http.middlewares.door.basicauth.users": bcrypted(t, "user", "secret")}
	s.Deploy(app)
	refused := []stand.Request{
		{Host: "web.test"},
		{Host: "web.test", Header: basicAuth("user", "wrong")},
		{Host: "web.test", TLS: true},
		{Method: http.MethodPost, Host: "web.test", Path: "/upload", Body: strings.Repeat("x", 2_000_000)},
		{Host: "web.test", Header: map[string]string{"X-Spawner-Service": "web", "X-Spawner-Leg": "asleep"}},
		{Host: "web.test", Header: map[string]string{"Content-Type": "application/grpc"}, Method: http.MethodPost},
	}
	for range 2 { // awake, then asleep
		for _, r := range refused {
			s.Do(r).MustBe(401)
		}
		s.Sleep("web")
	}
	if status := s.Service("web").Status; status != fleet.StatusAsleep {
		t.Errorf("somebody without a password has woken it: it is %s", status)
	}
	s.Do(stand.Request{Host: "web.test", Header: basicAuth("user", "secret")}).MustBe(200)
	s.Do(stand.Request{Host: "web.test", Header: basicAuth("user", "secret")}).MustBe(200)
}

func TestWhoeverAsksTheFallbackRouterItselfPassesNoDoor(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	guarded, other := s.MockApp("guarded", "guarded.test"), s.MockApp("other", "other.test")
	guarded.Labels = map[string]string{"traefik.http.middlewares.door.basicauth.users": bcrypted(t, "user", "secret")}
	s.Deploy(guarded)
	s.Deploy(other)
	sleepAll(t, s, "guarded", "other")
	direct := func(host string, header map[string]string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Spawner.FallbackURL+"/echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		for name, value := range header {
			request.Header.Set(name, value)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	claims := map[string]string{"X-Spawner-Edge": "guess", "X-Spawner-Service": "guarded", "X-Spawner-Leg": "asleep"}
	if got := direct("guarded.test", nil); got != 307 {
		t.Errorf("a guarded service: got %d, want that the client is sent to the edge", got)
	}
	if got := direct("guarded.test", claims); got != 307 {
		t.Errorf("a guarded service, with claims: got %d", got)
	}
	if got := direct("nobody.test", claims); got != 404 {
		t.Errorf("nobody's host, with claims: got %d", got)
	}
	if status := s.Service("guarded").Status; status != fleet.StatusAsleep {
		t.Errorf("guarded is %s", status)
	}
	if got := direct("other.test", claims); got != 200 {
		t.Errorf("another service, with claims: got %d", got)
	}
	// A client of the edge cannot claim to be of another service either.
	delete(claims, "X-Spawner-Edge")
	s.Do(stand.Request{Host: "nobody.test", Header: claims}).MustBe(404)
	if status := s.Service("guarded").Status; status != fleet.StatusAsleep {
		t.Errorf("guarded is %s", status)
	}
}

func TestAServiceCanBeRoutedByLabelsAlone(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web")
	app.Labels = map[string]string{
		"traefik.enable":                                                    "true",
		"traefik.http.routers.main.rule":                                    "Host(`labels.test`) && PathPrefix(`/api`)",
		"traefik.http.routers.main.entrypoints":                             "web",
		"traefik.http.routers.main.middlewares":                             "cut,mark",
		"traefik.http.middlewares.cut.stripprefix.prefixes":                 "/api",
		"traefik.http.middlewares.mark.headers.customrequestheaders.X-Mark": "yes",
		"traefik.http.routers.old.rule":                                     "Host(`old.test`)",
		"traefik.http.routers.old.middlewares":                              "away",
		"traefik.http.middlewares.away.redirectregex.regex":                 "^http://old.test/(.*)",
		"traefik.http.middlewares.away.redirectregex.replacement":           "http://labels.test/api/${1}",
		"traefik.http.services.main.loadbalancer.server.port":               "9000",
	}
	s.Deploy(app)
	for range 2 { // awake, then asleep
		seen := echoOf(t, s.Get("labels.test", "/api/echo/x").MustBe(200).Body)
		if seen.URI != "/echo/x" || seen.Headers.Get("X-Mark") != "yes" {
			t.Errorf("the app saw %s with X-Mark %q", seen.URI, seen.Headers.Get("X-Mark"))
		}
		moved := s.Get("old.test", "/echo").MustBe(302)
		if location := moved.Header.Get("Location"); location != "http://labels.test/api/echo" {
			t.Errorf("sent to %q", location)
		}
		s.Get("labels.test", "/echo").MustBe(404)
		s.Do(stand.Request{Host: "labels.test", Path: "/api/echo", TLS: true}).MustBe(404)
		s.Sleep("web")
	}
	label := stand.Inspect(t, s.AppOf("web", 0), `{{index .Config.Labels "traefik.http.routers.main.rule"}}`)
	if label != app.Labels["traefik.http.routers.main.rule"] {
		t.Errorf("the app's container has the rule %q", label)
	}
}

func TestWhatTheEdgeMustNotBeToldIsRefusedByName(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("taken", "taken.test"))
	refused := map[string]string{
		"traefik.http.routers.x.service":                  "api@internal",
		"traefik.http.routers.x.entrypoints":              "metrics",
		"traefik.http.routers.x.rule":                     "Host(`x.test`",
		"traefik.http.routers.x.priority":                 "1000000",
		"traefik.http.services.x.loadbalancer.server.url": "http://169.254.169.254/",
		"traefik.http.middlewares.x.forwardauth.address":  "http://evil.test/",
		"traefik.http.middlewares.x.ratelimit.avrage":     "100",
		"traefik.http.middlewares.x.plugin.y.z":           "1",
		"traefik.tcp.routers.x.rule":                      "HostSNI(`*`)",
		"spawner.fleet":                                   "other",
	}
	for key, value := range refused {
		app := s.MockApp("web", "web.test")
		app.Labels = map[string]string{key: value}
		_, err := s.TryDeploy(app)
		if err == nil || fleet.KindOf(err) != fleet.Invalid || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(key)) && key != "traefik.http.routers.x.rule" {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	if _, err := s.TryDeploy(s.MockApp("web", "taken.test")); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("a host that is taken: %v", err)
	}
	if services := s.Services(); len(services) != 1 {
		t.Errorf("after all refusals there are %v", services)
	}
	s.Get("taken.test", "/").MustBe(200)
}

// bcrypted returns a user as the labels of basicAuth hold one.
func bcrypted(t *testing.T, user, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":" + string(hash)
}
