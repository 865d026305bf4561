package direct

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

// minion is a payload of the older tools, as it stands.
const minion = `{"name": "minion-1", "network": "traefiknet", "image": "mock-app:latest",
 "labels": {"healthcheck": "http://minion-1:9000/status", "traefik.enable": "true",
  "traefik.http.routers.minion-1.entrypoints": "web", "traefik.http.routers.minion-1.rule": "PathPrefix(` + "`/minion-1`" + `)",
  "traefik.http.routers.minion-1.middlewares": "minion-1-context",
  "traefik.http.middlewares.minion-1-context.replacepathregex.regex": "^/minion-1(.*)",
  "traefik.http.middlewares.minion-1-context.replacepathregex.replacement": "${1}"},
 "envs": {"CONNSTR": "db 1", "IDLE": "1m"}}`

func answer(t *testing.T, a *API, method, target, body string, status int, want string, headers ...string) {
	t.Helper()
	w := call(t, a, method, target, body, headers...)
	if got := strings.TrimSpace(w.Body.String()); w.Code != status || got != want {
		t.Errorf("%s %s: got %d %s, want %d %s", method, target, w.Code, got, status, want)
	}
}

func TestAPayloadOfTheOlderToolsIsTakenAsItStands(t *testing.T) {
	for _, path := range []string{"/deploy/", "/deploy"} {
		f := newEngine()
		answer(t, f.api(), "POST", path, minion, 200, `{"id":"`+idOf("minion-1")+`"}`, "Content-Type", "application/x-www-form-urlencoded")
		want := fleet.DefaultSpec()
		want.Name, want.Image, want.Networks, want.Direct = "minion-1", "mock-app:latest", []string{"traefiknet"}, true
		want.Restart = fleet.RestartNever
		want.Env = map[string]fleet.Secret{"CONNSTR": "db 1", "IDLE": "1m"}
		want.Labels = map[string]string{
			"healthcheck": "http://minion-1:9000/status", "traefik.enable": "true",
			"traefik.http.routers.minion-1.entrypoints": "web", "traefik.http.routers.minion-1.rule": "PathPrefix(`/minion-1`)",
			"traefik.http.routers.minion-1.middlewares":                              "minion-1-context",
			"traefik.http.middlewares.minion-1-context.replacepathregex.regex":       "^/minion-1(.*)",
			"traefik.http.middlewares.minion-1-context.replacepathregex.replacement": "${1}",
		}
		if diff := cmp.Diff(want, f.services["minion-1"].Spec); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnInstanceWithoutARouterIsRoutedAsTheSiteIs(t *testing.T) {
	for _, c := range []struct {
		config Config
		labels string
		want   *fleet.Route
	}{
		{Config{}, `{}`, &fleet.Route{Cookie: &fleet.Cookie{Name: "instance", Value: "m1"}}},
		{Config{CookieKey: "app"}, `{"traefik.enable":"true"}`, &fleet.Route{Cookie: &fleet.Cookie{Name: "app", Value: "m1"}}},
		{Config{PathRouting: true}, `{}`, &fleet.Route{PathPrefix: "/m1", StripPrefix: true}},
		{Config{PathRouting: true, ContainerPrefix: "custom/"}, `{}`, &fleet.Route{PathPrefix: "/custom/m1", StripPrefix: true}},
		{Config{PathRouting: true}, `{"traefik.http.routers.m1.rule":"Path("}`, nil},
		{Config{}, `{"Traefik.Enable":"false"}`, nil},
	} {
		f := newEngine()
		c.config.Engine, c.config.Authority = f, gate{}
		w := call(t, New(c.config), "POST", "/deploy/", `{"name":"m1","image":"mock-app","labels":`+c.labels+`}`)
		if diff := cmp.Diff(c.want, f.services["m1"].Spec.Route); diff != "" || w.Code != 200 {
			t.Errorf("%+v %s: %d %s %s", c.config, c.labels, w.Code, w.Body, diff)
		}
	}
}

func TestABadPayloadIsRefusedAndCreatesNothing(t *testing.T) {
	for body, want := range map[string]string{
		`{"name":"m1"}`: `{"error":"image: is missing"}`,
		`{"name":"m1","image":"app","envs":{"PORT":9000}}`: `{"error":"envs`,
		`{`:                             `{"error":"the body is not JSON`,
		``:                              `{"error":"the body is not JSON`,
		`{"name":"shop","image":"app"}`: `{"error":"the name \"shop\" is in use already"}`,
		`{"name":"m1","image":"app","labels":{"origin":"mine"}}`: `{"error":"labels.origin`,
	} {
		f := newEngine()
		w := call(t, f.api(), "POST", "/deploy/", body)
		if w.Code != 400 || !strings.HasPrefix(w.Body.String(), want) || len(f.asked) > 0 {
			t.Errorf("%s: got %d %s, asked %v", body, w.Code, w.Body, f.asked)
		}
	}
}

func TestACreateThatFailsLeavesNothing(t *testing.T) {
	f := newEngine()
	f.jobErr = `pull: there is no image "mock-app:latest"`
	answer(t, f.api(), "POST", "/deploy/", minion, 400, `{"error":"pull: there is no image \"mock-app:latest\""}`)
	if diff := cmp.Diff([]string{"deploy minion-1 ann", "remove minion-1 ann"}, f.asked); diff != "" {
		t.Error(diff)
	}
	f.jobErr = ""
	answer(t, f.api(), "POST", "/deploy/", minion, 200, `{"id":"`+idOf("minion-1")+`"}`)
}

func TestTwoCreatesOfOneNameAtOnceMakeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newEngine()
		f.waiting = make(chan struct{})
		a := f.api()
		first := make(chan int)
		go func() { first <- call(t, a, "POST", "/deploy/", minion).Code }()
		synctest.Wait()
		answer(t, a, "POST", "/deploy/", minion, 400, `{"error":"an instance named \"minion-1\" is being created already"}`)
		close(f.waiting)
		if code := <-first; code != 200 {
			t.Errorf("the first got %d", code)
		}
	})
}

func TestACreateThatTheEndOfTheServerCutsOffIsNotAnswered200(t *testing.T) {
	f := newEngine()
	f.waiting = make(chan struct{})
	ctx, end := context.WithCancel(t.Context())
	end()
	r := httptest.NewRequest("POST", "/deploy/", strings.NewReader(minion)).WithContext(ctx)
	r.Header.Set("token", "good")
	w := httptest.NewRecorder()
	f.api().ServeHTTP(w, r)
	if w.Code != 503 || !strings.Contains(w.Body.String(), `"error":"the spawner is being shut down"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestOnlyDirectInstancesAreListed(t *testing.T) {
	f := newEngine()
	f.add("minion-1", true, fleet.ContainerExited)
	for _, path := range []string{"/deploy/", "/deploy"} {
		answer(t, f.api(), "GET", path, "", 200, `{"instances":[{"id":"`+idOf("minion-1")+`","name":"minion-1","image":"mock-app:latest","network":"traefiknet","state":"exited","status":"asleep","health":""}]}`)
	}
	answer(t, newEngine().api(), "GET", "/deploy/", "", 200, `{"instances":[]}`)
}

func TestAStoppedInstanceIsStartedByItsIdOrItsName(t *testing.T) {
	for _, id := range []string{"minion-1", idOf("minion-1"), idOf("minion-1")[:12], "minion-1/"} {
		f := newEngine()
		f.add("minion-1", true, fleet.ContainerExited)
		f.waiting = make(chan struct{}) // it is never waited for
		answer(t, f.api(), "PUT", "/deploy/"+id, "", 200, `{"id":"`+idOf("minion-1")+`"}`)
		if diff := cmp.Diff([]string{"wake minion-1 ann"}, f.asked); diff != "" {
			t.Error(diff)
		}
	}
}

func TestARunningInstanceIsNotStarted(t *testing.T) {
	f := newEngine()
	f.add("minion-1", true, fleet.ContainerRunning)
	answer(t, f.api(), "PUT", "/deploy/minion-1", "", 400, `{"error":"instance \"minion-1\" runs already"}`)
	f.add("minion-1", true, fleet.ContainerExited)
	detail := f.services["minion-1"]
	detail.Status = fleet.StatusWaking
	f.services["minion-1"] = detail
	answer(t, f.api(), "PUT", "/deploy/minion-1", "", 400, `{"error":"instance \"minion-1\" runs already"}`)
}

func TestAnInstanceIsRemovedByItsIdOrItsName(t *testing.T) {
	for _, id := range []string{"minion-1", "minion-1/", idOf("minion-1")} {
		f := newEngine()
		f.add("minion-1", true, fleet.ContainerRunning)
		answer(t, f.api(), "DELETE", "/deploy/"+id, "", 200, `{"result":"ok"}`)
		if diff := cmp.Diff([]string{"remove minion-1 ann"}, f.asked); diff != "" {
			t.Error(diff)
		}
	}
}

func TestServicesOfThePrivateAPIAreOutOfReach(t *testing.T) {
	for _, id := range []string{"shop", idOf("shop"), "nobody"} {
		for _, method := range []string{"PUT", "DELETE"} {
			f := newEngine()
			answer(t, f.api(), method, "/deploy/"+id, "", 400, `{"error":"there is no instance \"`+id+`\""}`)
			if len(f.asked) > 0 {
				t.Errorf("asked %v", f.asked)
			}
		}
	}
}

func TestTheBeginningOfTwoIdsIsRefused(t *testing.T) {
	f := newEngine()
	f.add("minion", true, fleet.ContainerRunning)
	f.services["minion"].Containers[0].ID = "abcdef1"
	f.add("other", true, fleet.ContainerRunning)
	f.services["other"].Containers[0].ID = "abcdef2"
	answer(t, f.api(), "DELETE", "/deploy/abcdef", "", 400, `{"error":"\"abcdef\" is the beginning of 2 instances' ids"}`)
}

func TestEveryCallAsksForACredential(t *testing.T) {
	for _, c := range []struct {
		method, path string
		read         int
	}{
		{"GET", "/deploy", 200}, {"GET", "/deploy/", 200}, {"POST", "/deploy", 403}, {"POST", "/deploy/", 403},
		{"PUT", "/deploy/m1", 403}, {"PUT", "/deploy/m1/", 403}, {"DELETE", "/deploy/m1", 403}, {"DELETE", "/deploy/m1/", 403},
	} {
		f := newEngine()
		answer(t, f.api(), c.method, c.path, minion, 401, `{"message":"a credential is needed"}`, "token", "")
		answer(t, f.api(), c.method, c.path, minion, 401, `{"message":"a credential is needed"}`, "token", "wrong")
		if w := call(t, f.api(), c.method, c.path, minion, "token", "read"); w.Code != c.read {
			t.Errorf("%s %s with scope read: got %d %s", c.method, c.path, w.Code, w.Body)
		}
		if len(f.asked) > 0 {
			t.Errorf("asked %v", f.asked)
		}
	}
}

func TestAnOpenAPIAnswersToLocalhostAlone(t *testing.T) {
	f := newEngine()
	a := New(Config{Engine: f, Authority: gate{}, Logins: gate{}, Open: true})
	for _, host := range []string{"localhost:8008", "127.0.0.1:8008", "[::1]:8008", "localhost"} {
		if w := call(t, a, "POST", "http://"+host+"/deploy/", `{"name":"m1","image":"app"}`, "token", ""); w.Code != 200 {
			t.Errorf("%s: got %d %s", host, w.Code, w.Body)
		}
		delete(f.services, "m1")
	}
	for _, host := range []string{"evil.example:8008", "192.0.2.1", "localhost.evil.example"} {
		if w := call(t, a, "POST", "http://"+host+"/deploy/", `{"name":"m1","image":"app"}`, "token", ""); w.Code != 403 {
			t.Errorf("%s: got %d %s", host, w.Code, w.Body)
		}
	}
	answer(t, a, "POST", "http://localhost:8008/deploy/", minion, 403, `{"message":"a page of another site may not call this API"}`, "Origin", "http://evil.example")
}

func TestALoginIsTradedForAToken(t *testing.T) {
	a := newEngine().api()
	good := `{"username":"ann","password":"open sesame"}`
	answer(t, a, "POST", "/login", good, 200, `{"token":"good"}`, "token", "")
	answer(t, a, "POST", "/login/", good, 200, `{"token":"good"}`, "token", "")
	answer(t, a, "POST", "/login", `{"username":"ann","password":"x"}`, 401, `{"message":"wrong username or password"}`)
	answer(t, a, "POST", "/login", `username=ann`, 401, `{"message":"a username and a password are wanted, as JSON"}`)
	w := call(t, a, "POST", "/login", `{"username":"slow"}`)
	if w.Code != 429 || w.Header().Get("Retry-After") != "2" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestWhatIsNotThereIsRefused(t *testing.T) {
	for _, target := range []string{"GET /deploy/m1", "PATCH /deploy/m1", "POST /deploy/m1/x", "GET /login", "PUT /deploy/"} {
		method, path, _ := strings.Cut(target, " ")
		if w := call(t, newEngine().api(), method, path, ""); w.Code != 400 || !strings.HasPrefix(w.Body.String(), `{"error":`) {
			t.Errorf("%s: got %d %s", target, w.Code, w.Body)
		}
	}
}

func TestAnErrorThatIsNotForPersonsIsNotShown(t *testing.T) {
	f := newEngine()
	f.err = http.ErrBodyNotAllowed
	answer(t, f.api(), "POST", "/deploy/", minion, 500, `{"error":"internal error"}`)
}
