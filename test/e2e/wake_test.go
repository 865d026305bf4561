//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

func TestARedirectComesOnlyWhenTheEdgeHasTheRoute(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithEdges(2))
	app := s.MockApp("web", "web.test")
	app.Wake.Answer = fleet.AnswerRedirect
	app.Route.PathPrefix, app.Route.StripPrefix = "/app", true
	s.Deploy(app)

	s.Sleep("web")
	answer := s.Do(stand.Request{Host: "web.test", Path: "/app/echo/a%2Fb?x=1"}).MustBe(307)
	if location := answer.Header.Get("Location"); location != "/app/echo/a%2Fb?x=1" {
		t.Errorf("redirected to %q, want its own path", location)
	}
	for _, edge := range s.Edges { // no second round at either
		s.Do(stand.Request{Edge: edge, Host: "web.test", Path: "/app/echo"}).MustBe(200)
	}

	s.Sleep("web")
	s.Do(stand.Request{Host: "web.test", Path: "/app/echo/again", Follow: 2}).MustBe(200).MustContain(`"/echo/again"`)

	s.Sleep("web")
	posted := s.Do(stand.Request{Method: http.MethodPost, Host: "web.test", Path: "/app/echo", Body: "hello", Follow: 2}).MustBe(200)
	if seen := echoOf(t, posted.Body); seen.Method != http.MethodPost || string(seen.Body) != "hello" {
		t.Errorf("after the redirect the app saw %s with %q", seen.Method, seen.Body)
	}
}

func TestABrowserSeesAPageWhileAServiceWakesAndThenTheService(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Wake.Answer = fleet.AnswerPage
	app.Env["READY_DELAY"] = "10s"
	s.Deploy(app)
	s.Sleep("web")
	browser := stand.Request{Host: "web.test", Header: map[string]string{"Accept": "text/html,*/*;q=0.8"}}
	page := s.Do(browser).MustBe(503).MustContain("web is starting").MustContain(`http-equiv="refresh"`)
	if page.Took > 5*time.Second || page.Header.Get("Retry-After") == "" {
		t.Errorf("the page came after %s with Retry-After %q", page.Took, page.Header.Get("Retry-After"))
	}
	s.Get("web.test", "/status").MustBe(200) // a program is held meanwhile
	s.Do(browser).MustBe(200).MustContain("<h1>mock-app</h1>")
	if wakes := s.Wakes("web"); len(wakes) != 1 {
		t.Errorf("%d wakes, want 1", len(wakes))
	}
}

func TestAThousandRequestsAtASleeperAreOneStart(t *testing.T) {
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	s.Sleep("web")
	before := stand.Starts(t, s.AppOf("web", 0))
	transport := s.Edges[0].Transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	together(t, 1000, func(int) {
		response, err := client.Get("http://web.test/status")
		if err != nil {
			t.Error(err)
			return
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("status %d", response.StatusCode)
		}
	})
	if starts := stand.Starts(t, s.AppOf("web", 0)) - before; starts != 1 {
		t.Errorf("the app was started %d times, want once", starts)
	}
	if wakes := s.Wakes("web"); len(wakes) != 1 {
		t.Errorf("%d wakes, want 1", len(wakes))
	}
}

func TestAClientThatLeavesIsLetGoAndTheWakeGoesOn(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Env["READY_DELAY"] = "15s"
	s.Deploy(app)
	s.Sleep("web")
	answer := s.Do(stand.Request{Host: "web.test", Within: 2 * time.Second})
	if answer.Status != 0 {
		t.Fatalf("got %d, want that the client has gone by then", answer.Status)
	}
	stand.Eventually(t, 8*time.Second, "nothing is held for the client", func() error {
		if held := s.Metric("spawner_held_requests"); held != "0" {
			return fmt.Errorf("%s are held", held)
		}
		return nil
	})
	if status := s.Service("web").Status; status != fleet.StatusWaking {
		t.Errorf("web is %s, want waking", status)
	}
	s.WaitStatus("web", 40*time.Second, fleet.StatusRunning)
}

func TestAServiceWakesFromEachDepth(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	depths := map[fleet.SleepMode]struct {
		status       fleet.Status
		app, sandbox string
	}{
		fleet.SleepPause: {fleet.StatusDozing, "paused", "running"},
		fleet.SleepStop:  {fleet.StatusAsleep, "exited", "running"},
		fleet.SleepDeep:  {fleet.StatusAsleep, "exited", "exited"},
	}
	for mode := range depths {
		app := s.MockApp(string(mode), string(mode)+".test")
		app.Sleep.Mode = mode
		app.Replicas = 2
		s.Deploy(app)
	}
	for mode, want := range depths {
		name := string(mode)
		address := s.Service(name).Detail[0].Address
		s.Sleep(name)
		if status := s.Service(name).Status; status != want.status {
			t.Errorf("%s: it is %s, want %s", mode, status, want.status)
		}
		for i := range 2 {
			if app, sandbox := stand.StateOf(t, s.AppOf(name, i)), stand.StateOf(t, s.SandboxOf(name, i)); app != want.app || sandbox != want.sandbox {
				t.Errorf("%s: app %s, sandbox %s; want %s, %s", mode, app, sandbox, want.app, want.sandbox)
			}
		}
		answer := s.Get(name+".test", "/").MustBe(200)
		t.Logf("%s: woken in %s", mode, answer.Took.Round(time.Millisecond))
		s.WaitReplicas(name, 2)
		if now := s.Service(name).Detail[0].Address; now != address {
			t.Errorf("%s: the address was %s and is %s", mode, address, now)
		}
	}
}

func TestWhatFailsIsToldHonestlyAndInTime(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithFlags("--cookie-fallback-url=http://localhost/home"))
	const maxWait = 2 * time.Second
	deploy := func(name string, change func(*fleet.Spec)) {
		app := s.MockApp(name, name+".test")
		app.Wake.MaxWait = fleet.Duration(maxWait)
		change(&app)
		s.Deploy(app)
	}
	deploy("exits", func(app *fleet.Spec) {
		app.Env["EXIT_LATER"] = "3"
		app.Wake.MaxWait = fleet.Duration(time.Minute) // that it waits for less is the point
	})
	deploy("slow", func(app *fleet.Spec) {
		app.Env["READY_DELAY"] = "5s"
		app.HealthCheck.StartPeriod = fleet.Duration(30 * time.Second) // for the deploy, which is given no less
	})
	deploy("gone", func(*fleet.Spec) {})
	deploy("none", func(*fleet.Spec) {})
	deploy("cookie", func(app *fleet.Spec) {
		app.Route = &fleet.Route{Hosts: []string{"site.test"}, Cookie: &fleet.Cookie{Name: "instance", Value: "a"}, Port: 9000}
		app.Wake.MaxWait = fleet.Duration(time.Minute)
	})
	sleepAll(t, s, "exits", "slow", "gone", "cookie")
	s.Remove("gone")
	s.Scale("none", 0)

	answer := s.Get("exits.test", "/").MustBe(502).MustContain("exited with code 3")
	inTime(t, answer, 25*time.Second)
	answer = s.Get("slow.test", "/").MustBe(504).MustContain("slow-0")
	inTime(t, answer, maxWait)
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Errorf("Retry-After is %q", answer.Header.Get("Retry-After"))
	}
	inTime(t, s.Get("none.test", "/").MustBe(503), maxWait)
	for _, nobody := range []stand.Request{
		{Host: "gone.test"},
		{Host: "unknown.test"},
		{Host: "site.test"},
		{Host: "site.test", Cookie: "instance=b"},
		{Host: "unknown.test", TLS: true},
	} {
		answer := s.Do(nobody).MustBe(302)
		if location := answer.Header.Get("Location"); location != "http://localhost/home" {
			t.Errorf("%s with cookie %q: sent to %q", nobody.Host, nobody.Cookie, location)
		}
	}
	s.Do(stand.Request{Host: "localhost", Path: "/home"}).MustBe(404) // and not round and round
	s.Do(stand.Request{Host: "site.test", Cookie: "instance=a"}).MustBe(200)
}

func inTime(t *testing.T, answer stand.Answer, maxWait time.Duration) {
	t.Helper()
	if answer.Took > maxWait+time.Second {
		t.Errorf("status %d came after %s, want within %s and a second", answer.Status, answer.Took, maxWait)
	}
}

func TestARemovalWhileItIsWokenEndsTheWait(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Env["READY_DELAY"] = "20s"
	s.Deploy(app)
	s.Sleep("web")
	answers := make(chan stand.Answer, 1)
	go func() { answers <- s.Get("web.test", "/") }()
	s.WaitStatus("web", 15*time.Second, fleet.StatusWaking)
	s.Remove("web")
	answer := (<-answers).MustBe(404)
	if answer.Took > 15*time.Second {
		t.Errorf("the answer came after %s", answer.Took)
	}
	s.Get("web.test", "/").MustBe(404)
}

func TestWhatAServiceNeedsIsWokenFirst(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("db"))
	app := s.MockApp("web", "web.test")
	app.Wake.Needs = []string{"db"}
	s.Deploy(app)
	sleepAll(t, s, "web", "db")
	s.Get("web.test", "/").MustBe(200)
	if status := s.Service("db").Status; status != fleet.StatusRunning {
		t.Errorf("db is %s", status)
	}
	if db, web := stand.StartedAt(t, s.AppOf("db", 0)), stand.StartedAt(t, s.AppOf("web", 0)); !db.Before(web) {
		t.Errorf("db was started at %s, web at %s", db, web)
	}
}

func TestAnImageWithARareHealthcheckWakesFast(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Image = stand.MockAppVariant(t, "e2e-healthcheck", `HEALTHCHECK --interval=30s CMD ["/mock-app", "health"]`)
	app.HealthCheck = nil
	app.Env["READY_DELAY"] = "500ms"
	s.Deploy(app)
	s.Sleep("web")
	answer := s.Get("web.test", "/").MustBe(200)
	if answer.Took > 20*time.Second { // the HEALTHCHECK is run at once, not after 30 s
		t.Errorf("it woke after %s", answer.Took)
	}
	t.Logf("woken in %s", answer.Took.Round(time.Millisecond))
	job := s.Deploy(withEnv(app, "VERSION", "2"))
	for _, step := range job.Steps {
		if took := step.EndedAt.Sub(step.StartedAt); step.Verb == "start" && took > 20*time.Second {
			t.Errorf("the start of the rollout took %s", took)
		}
	}
	s.Get("web.test", "/").MustBe(200).MustContain("version: 2")
}

// withEnv returns the spec with another value in its env.
func withEnv(spec fleet.Spec, key, value string) fleet.Spec {
	env := map[string]fleet.Secret{key: secret(value)}
	for k, v := range spec.Env {
		if k != key {
			env[k] = v
		}
	}
	spec.Env = env
	return spec
}
