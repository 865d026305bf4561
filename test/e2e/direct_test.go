//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// The payloads of the older tool's scripts as they stand, but for the names,
// which an engine has only once, and the network.
const (
	cookiePayload = `{"name": "NAME", "network": "NETWORK", "image": "mock-app:latest",
 "labels": {"healthcheck": "http://NAME:9000/status", "traefik.enable": "true",
  "traefik.http.routers.NAME.entrypoints": "websecure",
  "traefik.http.routers.NAME.rule": "HeadersRegexp(\"Cookie\",\".*instance=NAME.*\")",
  "traefik.http.routers.NAME.tls": "true",
  "traefik.http.services.NAME.loadbalancer.server.port": "9000"},
 "envs": {"CONNSTR": "db NAME", "IDLE": "6s"}}`
	pathPayload = `{"name": "NAME", "network": "NETWORK", "image": "mock-app:latest",
 "labels": {"healthcheck": "http://NAME:9000/status", "traefik.enable": "true",
  "traefik.http.routers.NAME.entrypoints": "web", "traefik.http.routers.NAME.rule": "PathPrefix(` + "`/NAME`" + `)",
  "traefik.http.routers.NAME.middlewares": "NAME-context",
  "traefik.http.middlewares.NAME-context.replacepathregex.regex": "^/NAME(.*)",
  "traefik.http.middlewares.NAME-context.replacepathregex.replacement": "${1}"},
 "envs": {"CONNSTR": "db NAME", "IDLE": "6s"}}`
)

// older is a client of the direct-routing API that sends no credential and no
// content type, as the older tool's scripts do.
type older struct {
	t *testing.T
	s *stand.Stand
}

// create creates an instance and returns its container's id.
func (o older) create(payload, name string) string {
	o.t.Helper()
	body := strings.NewReplacer("NAME", name, "NETWORK", o.s.Network).Replace(payload)
	answer := o.s.CallAPI(http.MethodPost, "/deploy/", body, nil).MustBe(200)
	var created struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(answer.Body), &created); err != nil || created.ID == "" {
		o.t.Fatalf("a create answered %s", answer.Body)
	}
	return created.ID
}

func (o older) refused(method, path, body string) string {
	o.t.Helper()
	answer := o.s.CallAPI(method, path, body, nil).MustBe(400)
	var refusal struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal([]byte(answer.Body), &refusal); err != nil || refusal.Error == "" {
		o.t.Errorf("%s %s was refused by %s", method, path, answer.Body)
	}
	return refusal.Error
}

// curl runs the real one, which follows redirects, and returns what it printed.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := exec.Command("curl", append([]string{"-sS", "-L", "-k", "--max-redirs", "3", "--max-time", "30"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %s: %v %s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

// browser is a request as one that opens a page sends it.
func browser(r stand.Request) stand.Request {
	r.Header = map[string]string{"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}
	return r
}

func TestInstancesOfTheOlderAPIAreReachedByTheirCookie(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithFlags("-use-cookie-routing=true", "--direct-api-auth=off", "-cookie-fallback-url=http://localhost/home"))
	o := older{t, s}
	one, ten := s.Name("minion")+"1", s.Name("minion")+"10"
	id := o.create(cookiePayload, one)
	o.create(cookiePayload, ten)
	if name, origin := stand.Inspect(t, id, "{{.Name}}"), stand.Inspect(t, id, "{{.Config.Labels.origin}}"); name != "/"+one || origin != "spawner" {
		t.Errorf("the container is named %s and of origin %s", name, origin)
	}
	if warnings := s.Events(one, fleet.EventWarning); len(warnings) == 0 {
		t.Error("no event tells that the rule was rewritten")
	}
	cookie := func(name string) stand.Request {
		return stand.Request{Host: "localhost", TLS: true, Path: "/", Cookie: "instance=" + name}
	}
	for _, name := range []string{one, ten} {
		s.Do(cookie(name)).MustBe(200).MustContain("connstr: db " + name + "\n")
		s.WaitStatus(name, 30*time.Second, fleet.StatusAsleep) // it ends by itself
	}

	// A browser is sent to / when the instance is there, and only once.
	page := browser(cookie(one))
	page.Path = "/deep/down?x=1"
	if location := s.Do(page).MustBe(307).Header.Get("Location"); location != "/" {
		t.Errorf("a browser is sent to %q", location)
	}
	s.Do(browser(cookie(one))).MustBe(200).MustContain("db " + one)
	if status := s.Service(ten).Status; status != fleet.StatusAsleep {
		t.Errorf("%s is %s", ten, status)
	}
	s.Do(stand.Request{Host: "localhost", Path: "/", Cookie: "instance=" + one}).MustBe(200) // at the plain entry point too

	// Other requests are held, so that nothing is lost.
	s.WaitStatus(one, 30*time.Second, fleet.StatusAsleep)
	post := cookie(ten)
	post.Method, post.Path, post.Body = http.MethodPost, "/echo", "hello"
	if seen := echoOf(t, s.Do(post).MustBe(200).Body); seen.Method != http.MethodPost || string(seen.Body) != "hello" {
		t.Errorf("a POST arrived as %s with %q", seen.Method, seen.Body)
	}
	if printed := curl(t, "--cookie", "instance="+one, strings.Replace(s.Edges[0].TLSURL, "127.0.0.1", "localhost", 1)+"/"); !strings.Contains(printed, "connstr: db "+one) {
		t.Errorf("curl printed %q", printed)
	}

	for _, lost := range []string{"", "instance=", "instance=nobody", "instance=" + one + "0x", "other=" + one} {
		answer := s.Do(stand.Request{Host: "localhost", TLS: true, Cookie: lost}).MustBe(302)
		if location := answer.Header.Get("Location"); location != "http://localhost/home" {
			t.Errorf("with cookie %q the client is sent to %q", lost, location)
		}
	}
	s.Do(stand.Request{Host: "localhost", Path: "/home"}).MustBe(404) // no loop
}

func TestInstancesOfTheOlderAPIAreReachedByTheirPath(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithFlags("-use-path-routing=true", "-container-prefix=/mycustomprefix", "--direct-api-auth=off"))
	o := older{t, s}
	one, bare := s.Name("minion")+"1", s.Name("bare")
	o.create(pathPayload, one)
	o.create(`{"name": "NAME", "network": "NETWORK", "image": "mock-app:latest", "labels": {"health-check": "http://NAME:9000/status"}, "envs": {"IDLE": "6s", "PORT": "9000"}}`, bare)
	paths := map[string]string{one: "/" + one, bare: "/mycustomprefix/" + bare}
	for _, state := range []string{"awake", "asleep"} {
		for name, prefix := range paths {
			if seen := echoOf(t, s.Get("localhost", prefix+"/echo/a%2Fb?x=1").MustBe(200).Body); seen.URI != "/echo/a%2Fb?x=1" {
				t.Errorf("%s: %s saw %s", state, name, seen.URI)
			}
			s.WaitStatus(name, 30*time.Second, fleet.StatusAsleep)
		}
	}
	for name, prefix := range paths {
		answer := s.Do(browser(stand.Request{Host: "localhost", Path: prefix + "/?x=1"})).MustBe(307)
		if location := answer.Header.Get("Location"); location != prefix+"/?x=1" {
			t.Errorf("a browser at %s is sent to %q", name, location)
		}
		s.Do(browser(stand.Request{Host: "localhost", Path: prefix + "/?x=1"})).MustBe(200)
		s.WaitStatus(name, 30*time.Second, fleet.StatusAsleep)
		if printed := curl(t, strings.Replace(s.Edges[0].URL, "127.0.0.1", "localhost", 1)+prefix+"/status"); printed != "ok\n" {
			t.Errorf("curl printed %q of %s", printed, name)
		}
	}
	s.Get("localhost", "/"+one+"0/status").MustBe(404)
}

func TestTheOlderAPIsCallsDoWhatTheyDid(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithFlags("--direct-api-auth=off"))
	o := older{t, s}
	one, two := s.Name("minion")+"1", s.Name("minion")+"2"
	s.Deploy(s.MockApp("web", "web.test")) // is none of theirs
	id := o.create(strings.Replace(cookiePayload, `"2s"`, `"6s"`, 1), one)
	o.refused(http.MethodPut, "/deploy/"+id, "") // it runs
	o.create(cookiePayload, two)

	var list struct {
		Instances []struct{ ID, Name string } `json:"instances"`
	}
	if err := json.Unmarshal([]byte(s.CallAPI(http.MethodGet, "/deploy", "", nil).MustBe(200).Body), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Instances) != 2 || list.Instances[0].Name != one || list.Instances[0].ID != id {
		t.Errorf("the instances are %v", list.Instances)
	}
	o.refused(http.MethodPost, "/deploy/", `{"name": "x`)
	o.refused(http.MethodPost, "/deploy/", strings.NewReplacer("NAME", one, "NETWORK", s.Network).Replace(cookiePayload))
	o.refused(http.MethodPost, "/deploy/", `{"name": "`+s.Name("no-image")+`", "image": "e2e-no-such-image:1"}`)
	o.refused(http.MethodPost, "/deploy/", `{"name": "`+s.Name("fails")+`", "image": "mock-app:latest", "envs": {"EXIT": "3"}}`)
	o.refused(http.MethodDelete, "/deploy/web", "")

	s.WaitStatus(one, 20*time.Second, fleet.StatusAsleep)
	s.CallAPI(http.MethodPut, "/deploy/"+id+"/", "", nil).MustBe(200).MustContain(id)
	s.WaitStatus(one, 10*time.Second, fleet.StatusRunning)
	s.CallAPI(http.MethodDelete, "/deploy/"+id, "", nil).MustBe(200).MustContain(`"result":"ok"`)
	s.CallAPI(http.MethodDelete, "/deploy/"+two+"/", "", nil).MustBe(200)
	s.CallAPI(http.MethodGet, "/deploy/", "", nil).MustBe(200).MustContain(`"instances":[]`)
	s.CallAPI(http.MethodGet, "/api/services", "", nil).MustBe(401) // only their API is open
	if services := s.Services(); len(services) != 1 {
		t.Errorf("there are %v", services)
	}
	s.CallAPI(http.MethodPost, "/deploy/", "{}", map[string]string{"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"}).MustBe(403)
}

func TestTheOlderAPITakesTheTokenOfALogin(t *testing.T) {
	t.Parallel()
	accounts := filepath.Join(t.TempDir(), "passwords")
	// alice: correct horse
	if err := os.WriteFile(accounts, []byte("alice,"+sha256Hex("correct horse")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := stand.Start(t, stand.WithFlags("--password-file="+accounts))
	s.CallAPI(http.MethodGet, "/deploy/", "", nil).MustBe(401).MustContain(`"message"`)
	s.CallAPI(http.MethodPost, "/login", `{"username":"alice","password":"wrong"}`, nil).MustBe(401).MustContain(`"message"`)
	s.CallAPI(http.MethodPost, "/login", `{"username":"bob","password":"correct horse"}`, nil).MustBe(401)
	var login struct {
		Token string `json:"token"`
	}
	stand.Eventually(t, 10*time.Second, "the slowed login is taken", func() error {
		answer := s.CallAPI(http.MethodPost, "/login/", `{"username":"alice","password":"correct horse"}`, nil)
		if answer.Status != 200 {
			return fmt.Errorf("status %d", answer.Status)
		}
		return json.Unmarshal([]byte(answer.Body), &login)
	})
	s.CallAPI(http.MethodGet, "/deploy/", "", map[string]string{"token": login.Token}).MustBe(200)
	s.CallAPI(http.MethodGet, "/deploy/", "", map[string]string{"Authorization": "Bearer " + login.Token}).MustBe(200)
	s.CallAPI(http.MethodGet, "/deploy/", "", basicAuth("alice", "correct horse")).MustBe(200)
	s.CallAPI(http.MethodGet, "/deploy/", "", map[string]string{"token": login.Token + "x"}).MustBe(401)
}

func TestWithoutAHealthCheckAnInstanceIsGivenAFixedTime(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithFlags("--direct-api-auth=off", "-use-path-routing=true", "-redirect-timeout=8s"))
	o := older{t, s}
	fixed, checked := s.Name("fixed"), s.Name("checked")
	o.create(`{"name": "NAME", "network": "NETWORK", "image": "mock-app:latest", "envs": {"IDLE": "0"}}`, fixed)
	image := stand.MockAppVariant(t, "e2e-healthcheck", `HEALTHCHECK --interval=30s CMD ["/mock-app", "health"]`)
	o.create(`{"name": "NAME", "network": "NETWORK", "image": "`+image+`", "labels": {"healthcheck": "http://NAME:9000/never"}, "envs": {"IDLE": "0"}}`, checked)
	for _, name := range []string{fixed, checked} {
		s.Sleep(name)
		answer := s.Do(browser(stand.Request{Host: "localhost", Path: "/" + name + "/"})).MustBe(307)
		if slow := answer.Took >= 8*time.Second; slow != (name == fixed) {
			t.Errorf("%s was redirected to after %s", name, answer.Took)
		}
	}
}
