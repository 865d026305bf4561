//go:build e2e

package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
	"edgespawner/test/stand"
)

// state is all that a call may change: each row of each table, and each container.
func state(t *testing.T, s *stand.Stand) string {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.Spawner.StateDir, "spawner.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b strings.Builder
	for _, table := range rows(t, db, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
		for _, row := range rows(t, db, "SELECT * FROM "+table) {
			if !changesByItself(table, row) {
				fmt.Fprintf(&b, "%s: %s\n", table, row)
			}
		}
	}
	return b.String() + s.Listing()
}

// changesByItself is true of rows that no call has to do with: when a token was
// used last, and that another test's fleet has begun beside this one.
func changesByItself(table, row string) bool {
	return strings.HasPrefix(table, "token") || table == "sqlite_sequence" ||
		table == "events" && strings.Contains(row, "| "+string(fleet.EventWarning)+" |") && strings.Contains(row, "Fleet e2e-")
}

// quietState is the state once what has happened is written down, events by
// and by.
func quietState(t *testing.T, s *stand.Stand) (now string) {
	t.Helper()
	now = state(t, s)
	since := time.Now()
	stand.Eventually(t, 20*time.Second, "the state stays the same for two seconds", func() error {
		if next := state(t, s); next != now {
			now, since = next, time.Now()
		}
		if quiet := time.Since(since); quiet < 2*time.Second {
			return fmt.Errorf("it changed %s ago", quiet)
		}
		return nil
	})
	return now
}

func rows(t *testing.T, db *sql.DB, query string) (list []string) {
	t.Helper()
	found, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for found.Next() {
		cells, targets := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range cells {
			targets[i] = &cells[i]
		}
		if err := found.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		row := make([]string, len(cells))
		for i, cell := range cells {
			row[i] = string(cell)
		}
		list = append(list, strings.Join(row, " | "))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// refusal calls the private API with a body as it stands and returns the error that it answers.
func refusal(t *testing.T, s *stand.Stand, path, contentType, body string) (int, fleet.Error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Spawner.APIURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.Spawner.AdminToken())
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Error fleet.Error }
	if err := json.Unmarshal(content, &answer); err != nil {
		t.Errorf("%s %.200s: the answer is no error in JSON: %s", path, body, content)
	}
	return response.StatusCode, answer.Error
}

func TestEachMistakeIsToldByTheNameOfItsFieldAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	taken := s.MockApp("taken", "taken.test")
	taken.Route.PathPrefix, taken.Route.Cookie = "/shop", &fleet.Cookie{Name: "instance", Value: "one"}
	port := stand.FreePort(t)
	taken.Ports = []fleet.Port{{ContainerPort: 9000, HostPort: port, Protocol: "tcp"}}
	s.Deploy(taken)
	before := quietState(t, s)
	const json = "application/json"
	for _, mistake := range []struct {
		more   string // of the body, after name and image
		field  string
		status int
	}{
		{`"replica": 3`, "replica", 400},
		{`"route": {"host": ["x.test"]}`, "route.host", 400},
		{`"replicas": -1`, "replicas", 400},
		{`"replicas": "three"`, "replicas", 400},
		{`"replicas": 1, "replicas": 2`, "replicas", 400},
		{`"resources": {"memory_mb": 1}`, "resources.memory_mb", 400},
		{`"resources": {"memory_mb": 1000000000}`, "resources.memory_mb", 400},
		{`"resources": {"cpu_shares": 1}`, "resources.cpu_shares", 400},
		{`"image": "no-such-image:1", "pull": "never"`, "image", 400},
		{`"image": "localhost:1/no-such-image:1"`, "image", 503},
		{`"image": "Not An Image"`, "image", 400},
		{`"name": "Web_1"`, "name", 400},
		{`"name": "-web"`, "name", 400},
		{`"labels": {"traefik.http.middlewares.m.ratelimit.avrage": "1"}`, "labels.traefik.http.middlewares.m.ratelimit.avrage", 400},
		{`"labels": {"traefik.http.routers.r.rule": "Hots(` + "`x`" + `)"}`, "labels.traefik.http.routers.r.rule", 400},
		{`"labels": {"spawner.fleet": "x"}`, "labels.spawner.fleet", 400},
		{`"sleep": {"after": "10 parsecs"}`, "sleep.after", 400},
		{`"sleep": {"mode": "snore"}`, "sleep.mode", 400},
		{`"wake": {"max_wait": 10}`, "wake.max_wait", 400},
		{`"wake": {"needs": ["web"]}`, "wake.needs[0]", 400},
		{`"ports": [{"container_port": 70000}]`, "ports[0].container_port", 400},
		{fmt.Sprintf(`"ports": [{"container_port": 80, "host_port": %d}]`, port), "ports[0].host_port", 409},
		{`"env": {"A=B": "x"}`, "env", 400},
		{`"health_check": {"type": "http", "endpoint": "http://169.254.169.254/"}`, "health_check.endpoint", 400},
		{`"route": {"hosts": ["taken.test"], "path_prefix": "/shop", "cookie": {"name": "instance", "value": "one"}, "port": 9000}`, "route", 409},
		{`"route": {"hosts": ["bad host"], "port": 9000}`, "route.hosts[0]", 400},
		{`"route": {"path_prefix": "shop", "port": 9000}`, "route.path_prefix", 400},
		{`"route": {"cookie": {"name": "a b", "value": "x"}, "port": 9000}`, "route.cookie.name", 400},
		{`"route": {}`, "route", 400},
		{`"networks": ["host"]`, "networks[0]", 400},
		{`"command": "sh -c x"`, "command", 400},
	} {
		body := fmt.Sprintf(`{%s, "image": %q, "name": "web"}`, mistake.more, stand.MockAppImage)
		if strings.HasPrefix(mistake.more, `"image"`) {
			body = fmt.Sprintf(`{%s, "name": "web"}`, mistake.more)
		}
		if strings.HasPrefix(mistake.more, `"name"`) {
			body = fmt.Sprintf(`{%s, "image": %q}`, mistake.more, stand.MockAppImage)
		}
		status, got := refusal(t, s, "/api/deploy", json, body)
		if status != mistake.status || !strings.HasPrefix(got.Field, mistake.field) || got.Message == "" {
			t.Errorf("%s: answered %d about %q: %s; want %d about %q", mistake.more, status, got.Field, got.Message, mistake.status, mistake.field)
		}
	}
	good := fmt.Sprintf(`{"name": "web", "image": %q}`, stand.MockAppImage)
	for _, call := range []struct {
		path, contentType, body string
		status                  int
		field                   string
	}{
		{"/api/deploy", json, "", 400, ""},
		{"/api/deploy", json, "[]", 400, ""},
		{"/api/deploy", json, good + good, 400, ""},
		{"/api/deploy", json, `{"name": "web"`, 400, ""},
		{"/api/deploy", json, `{"name": "web", "env": {"A": "` + strings.Repeat("x", 2*fleet.MaxSpecSize) + `"}}`, 413, ""},
		{"/api/deploy", "text/plain", good, 400, "Content-Type"},
		{"/api/deploy?dry_run=perhaps", json, good, 400, "dry_run"},
		{"/api/deploy?wait=soon", json, good, 400, "wait"},
		{"/api/services/taken/scale", json, `{"replicas": -1}`, 400, "replicas"},
		{"/api/services/taken/scale", json, `{"replica": 1}`, 400, "replica"},
		{"/api/services/taken/rollback", json, `{"revision": 99}`, 400, "revision"},
		{"/api/services/nobody/scale", json, `{"replicas": 1}`, 404, ""},
		{"/api/services/nobody/wake", json, "", 404, ""},
	} {
		status, got := refusal(t, s, call.path, call.contentType, call.body)
		if status != call.status || got.Field != call.field || got.Message == "" {
			t.Errorf("%s %s %.60s: answered %d about %q: %s; want %d about %q", call.path, call.contentType, call.body, status, got.Field, got.Message, call.status, call.field)
		}
	}
	if after := quietState(t, s); after != before {
		t.Errorf("the state was:\n%s\nand after refusals alone is:\n%s", before, after)
	}
}

func TestADryRunAndADeployOfWhatIsThereChangeNothing(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	web := s.MockApp("web", "web.test")
	web.Replicas = 2
	s.Deploy(web)
	before := quietState(t, s)

	for _, planned := range []struct {
		spec      fleet.Spec
		unchanged bool
		steps     string
	}{
		{web, true, ""},
		{s.MockApp("fresh", "fresh.test"), false, "create fresh-0"},
		{withVersion(t, web, 1), false, "stop web-1"},
	} {
		body, err := client.SpecBody(planned.spec)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := s.Client.Plan(t.Context(), body, client.DeployOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for _, step := range plan.Steps {
			steps = append(steps, step.Verb+" "+step.Replica)
		}
		if all := strings.Join(steps, ", "); plan.Unchanged != planned.unchanged || !strings.Contains(all, planned.steps) {
			t.Errorf("the plan for %s: unchanged %v, steps %s", plan.Service, plan.Unchanged, all)
		}
	}
	accepted := s.StartDeploy(web)
	if !accepted.Unchanged || accepted.JobID != "" || accepted.Revision != 1 {
		t.Errorf("a deploy of what is there was accepted as %+v", accepted)
	}
	if after := quietState(t, s); after != before {
		t.Errorf("the state was:\n%s\nand is:\n%s", before, after)
	}

	old := s.Containers("web", "")
	forced, err := s.Client.Deploy(t.Context(), web, client.DeployOptions{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if job := s.WaitJob(forced.JobID); job.State != fleet.JobSucceeded {
		t.Errorf("the forced deploy is %s: %s", job.State, job.Error)
	}
	mustServeRevision(t, s, "web", 2, 2)
	for _, id := range s.Containers("web", "") {
		if strings.Contains(strings.Join(old, " "), id) {
			t.Errorf("container %s has outlived a forced deploy", id)
		}
	}
}

func TestSleepIsRefusedWhileAJobRuns(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	slow := s.MockApp("web", "web.test")
	slow.Env["READY_DELAY"] = "1h"
	steps := followSteps(t, s, "web")
	accepted := s.StartDeploy(slow)
	steps.await("create web-0")
	_, err := s.Client.Sleep(t.Context(), "web")
	if fleet.KindOf(err) != fleet.Conflict || !strings.Contains(err.Error(), accepted.JobID) {
		t.Errorf("a sleep beside a deploy: %v, want a conflict that names job %s", err, accepted.JobID)
	}
	if output, code := s.CLI("sleep", "web"); code == 0 || !strings.Contains(output, accepted.JobID) {
		t.Errorf("spawner sleep ended with code %d: %s", code, output)
	}
	s.Get("web.test", "/").MustBe(200)
	cancelJob(t, s, accepted.JobID)
	s.Sleep("web")
}
