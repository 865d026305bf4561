package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func containers(status fleet.ContainerStatus, healths ...fleet.Health) []fleet.ServiceContainer {
	var list []fleet.ServiceContainer
	for i, health := range healths {
		list = append(list, fleet.ServiceContainer{ID: "c", Name: fleet.ReplicaName("api-server", i), Status: status, Health: health, NodeID: "local"})
	}
	return list
}

// shownDegraded is a service of which one replica has ended.
func shownDegraded() fleet.ServiceDetail {
	const h = fleet.Healthy
	return fleet.ServiceDetail{
		Service: fleet.Service{Name: "api-server", Image: "myapp:latest", Replicas: 2, Status: fleet.StatusDegraded, Health: h,
			Containers: append(containers(fleet.ContainerRunning, h), fleet.ServiceContainer{Name: "api-server-1", Status: fleet.ContainerExited, Health: fleet.Unknown, NodeID: "local"})},
		Revision: 4, URLs: []string{"https://a.example.com", "https://b.example.com"}, Reason: "api-server-1 exited\x1b[31m with 1", ChangedAt: at("10:23:45.000"),
		Spec: fleet.Spec{Env: map[string]fleet.Secret{"KEY": "quite-secret"}, Restart: fleet.RestartOnFailure, RestartLimit: fleet.RestartLimit{Attempts: 5, Window: 10 * fleet.DefaultMaxWait}, Sleep: fleet.Sleep{After: fleet.DefaultMaxWait, Mode: fleet.SleepStop},
			Resources: fleet.Resources{MemoryMB: 512, CPUShares: 512}, Labels: map[string]string{"team": "web"},
			HealthCheck: &fleet.HealthCheck{Type: fleet.CheckTCP, Port: 9, Interval: fleet.DefaultInterval, Timeout: fleet.DefaultTimeout, Retries: 3}},
		Detail: []fleet.ReplicaDetail{
			{Name: "api-server-0", Revision: 4, Address: "10.210.1.2", Published: []fleet.Port{{HostPort: 8080, ContainerPort: 80}}},
			{Name: "api-server-1", Revision: 3, Address: "10.0.0.3:20003", Published: []fleet.Port{{HostIP: "10.0.0.3", HostPort: 20003, ContainerPort: 9000}}, Restarts: 2, LastExit: "exit 1", Drift: []string{"its image is 12, not 34"}},
		},
	}
}

// failedDeploy is a job with a step of each end.
func failedDeploy() fleet.Job {
	return fleet.Job{ID: "j1", Kind: fleet.JobDeploy, Service: "api-server", State: fleet.JobFailed, By: "admin", Error: "no such image", Warnings: []string{"no edge is known"},
		CreatedAt: at("10:23:45.000"), EndedAt: at("10:23:48.250"),
		Steps: []fleet.Step{{Verb: "pull", State: fleet.JobFailed, Detail: "myapp:latest", StartedAt: at("10:23:45.000"), EndedAt: at("10:23:48.000")}, {Verb: "start", Replica: "api-server-0", State: fleet.JobCanceled}}}
}

// wholeFleet answers every question that has a table for its answer.
func wholeFleet() map[string]any {
	const h, u = fleet.Healthy, fleet.Unhealthy
	return map[string]any{
		"GET /api/services": []fleet.Service{
			{Name: "api-server", Replicas: 3, Status: fleet.StatusRunning, Health: h, Containers: containers(fleet.ContainerRunning, h, h, h)},
			{Name: "batch", Replicas: 3, Status: fleet.StatusDozing, Health: h, Containers: containers(fleet.ContainerPaused, h, h, h)},
			{Name: "db", Replicas: 2, Status: fleet.StatusDegraded, Health: u, Containers: containers(fleet.ContainerRunning, h, u)},
			{Name: "minion-1", Replicas: 3, Status: fleet.StatusAsleep, Health: fleet.Unknown, Containers: containers(fleet.ContainerExited, h, h, h)},
			{Name: "none", Replicas: 0, Status: fleet.StatusStopped},
		},
		"GET /api/services/api-server": shownDegraded(),
		"GET /api/services/api-server/revisions": []fleet.Revision{
			{Number: 2, CreatedAt: at("10:23:45.000"), By: "admin", Outcome: fleet.OutcomePending, Spec: fleet.Spec{Image: "myapp:2"}},
			{Number: 1, CreatedAt: at("09:00:00.000"), By: "ci", Outcome: fleet.OutcomeSucceeded, Spec: fleet.Spec{Image: "myapp:1"}, ImageDigest: "myapp@sha256:12"},
		},
		"GET /api/services/api-server/why": fleet.Why{Service: "api-server", Status: fleet.StatusAsleep, Reasons: []string{"no request for 10m0s"}, LastSleep: "10:23, idle"},
		"GET /api/nodes": []fleet.Node{{Name: "local", State: fleet.NodeReady, Draining: true, Replicas: 4, CPUs: 2, MemoryMB: 7936,
			Reserved: fleet.Resources{CPUShares: 1536, MemoryMB: 512}, Used: &fleet.Resources{CPUShares: 102, MemoryMB: 2048}, Version: "20.10.24",
			Endpoint: "unix:///var/run/docker.sock", SeenAt: at("10:23:45.000")}, {Name: "b", State: fleet.NodeUnknown, Endpoint: "ssh://b"}},
		"GET /api/edges":   []fleet.Edge{{Name: "front", State: "connected", Received: 12, Confirmed: 11, URL: "http://edge:80", Refused: "api", SeenAt: at("10:23:45.000")}},
		"GET /api/jobs":    []fleet.Job{failedDeploy(), {ID: "j2", Kind: fleet.JobWake, Service: "db", State: fleet.JobRunning, CreatedAt: at("10:23:46.000")}},
		"GET /api/jobs/j1": failedDeploy(),
		"GET /api/tokens":  []fleet.Token{{Name: "admin", Scope: fleet.ScopeAdmin, CreatedAt: at("10:23:45.000")}, {Name: "ci", Scope: fleet.ScopeDeploy, CreatedAt: at("10:23:45.000"), ExpiresAt: at("11:00:00.000"), LastUsed: at("10:24:00.000")}},
	}
}

// tables are what people are shown of wholeFleet.
var tables = map[string]string{
	"ps": `
NAME         STATUS     REPLICAS   HEALTH
api-server   running    3/3        healthy
batch        dozing     0/3        -
db           degraded   1/2        unhealthy
minion-1     asleep     0/3        -
none         stopped    0/0        -
`,
	"inspect api-server": `
Name:      api-server
Status:    degraded
Reason:    api-server-1 exited` + "\uFFFD" + `[31m with 1
Health:    healthy
Replicas:  1/2
Image:     myapp:latest
Revision:  4
URLs:      https://a.example.com
           https://b.example.com
Sleep:     after 1m0s without use (stop)
Check:     tcp port 9 every 10s, timeout 2s, 3 retries
Limits:    512 MiB of memory, 0.5 CPUs reserved
Restart:   on-failure, 5 times at most in 10m0s
Drift:     api-server-1: its image is 12, not 34
Env:       KEY=redacted
Labels:    team=web
Changed:   2024-01-15 10:23:45

REPLICA        STATUS    HEALTH    REVISION   NODE    ADDRESS          PUBLISHED                  RESTARTS   LAST EXIT
api-server-0   running   healthy   4          local   10.210.1.2       8080->80/tcp               0          -
api-server-1   exited    -         3          local   10.0.0.3:20003   10.0.0.3:20003->9000/tcp   2          exit 1
`,
	"revisions api-server": `
REVISION   CREATED               BY      IMAGE     OUTCOME     DIGEST
2          2024-01-15 10:23:45   admin   myapp:2   pending     -
1          2024-01-15 09:00:00   ci      myapp:1   succeeded   myapp@sha256:12
`,
	"why api-server": `
api-server is asleep
  no request for 10m0s
  last sleep: 10:23, idle
`,
	"node ls": `
NAME    STATE             REPLICAS   CPUS   RESERVED   USED   MEMORY    RESERVED   USED      ENGINE     ENDPOINT                      LABELS   SEEN
local   ready, draining   4          2      1.5        0.1    7.8 GiB   512 MiB    2.0 GiB   20.10.24   unix:///var/run/docker.sock   -        2024-01-15 10:23:45
b       unknown           0          0      0.0        -      -         -          -         -          ssh://b                       -        -
`,
	"edges": `
NAME    STATE       RECEIVED   CONFIRMED   URL              SEEN                  NOTE
front   connected   12         11          http://edge:80   2024-01-15 10:23:45   refused api
`,
	"jobs": `
ID   KIND     SERVICE      STATE     CREATED               TOOK   BY      ERROR
j1   deploy   api-server   failed    2024-01-15 10:23:45   3.3s   admin   no such image
j2   wake     db           running   2024-01-15 10:23:46   -      -       -
`,
	"jobs show j1": `
ID   KIND     SERVICE      STATE    CREATED               TOOK   BY      ERROR
j1   deploy   api-server   failed   2024-01-15 10:23:45   3.3s   admin   no such image
warning: no edge is known

STEP    REPLICA        STATE      TOOK   DETAIL
pull    -              failed     3s     myapp:latest
start   api-server-0   canceled   -      -
`,
	"token ls": `
NAME    SCOPE    CREATED               EXPIRES               LAST USED
admin   admin    2024-01-15 10:23:45   never                 -
ci      deploy   2024-01-15 10:23:45   2024-01-15 11:00:00   2024-01-15 10:24:00
`,
}

func TestEachListIsATable(t *testing.T) {
	stub := newSpawner(t, wholeFleet())
	for command, want := range tables {
		t.Run(command, func(t *testing.T) {
			result := stub.ask(t, strings.Fields(command)...)
			if result.code != 0 || result.err != "" {
				t.Fatalf("got %+v", result)
			}
			if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), trimLines(result.out)); diff != "" {
				t.Error(diff)
			}
			result = stub.ask(t, append(strings.Fields(command), "-o", "json")...)
			if result.code != 0 || !json.Valid([]byte(result.out)) || strings.Contains(result.out, "quite-secret") {
				t.Errorf("as JSON: %+v", result)
			}
		})
	}
}

// trimLines drops blanks at the ends of lines.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func TestAnEmptyListIsAListInJSON(t *testing.T) {
	stub := newSpawner(t, map[string]any{"GET /api/services": json.RawMessage("null")})
	if got := stub.ask(t, "ps", "-o", "json"); got.out != "[]\n" {
		t.Errorf("got %+v", got)
	}
}

func TestEnvIsShownToTheAdminWhoAsks(t *testing.T) {
	stub := newSpawner(t, map[string]any{"GET /api/services/api": json.RawMessage(`{"name":"api","spec":{"env":{"KEY":"value"}}}`)})
	for _, args := range [][]string{{"inspect", "api", "--reveal-env"}, {"inspect", "api", "--reveal-env", "-o", "json"}} {
		if got := stub.ask(t, args...); got.code != 0 || !strings.Contains(got.out, "value") {
			t.Errorf("%v: got %+v", args, got)
		}
	}
	for _, asked := range stub.questions() {
		if asked != "GET /api/services/api?reveal=env" {
			t.Errorf("asked %s", asked)
		}
	}
}

func TestAMessageCannotSteerTheTerminal(t *testing.T) {
	var out bytes.Buffer
	a := &app{System: System{Out: &out}}
	if err := a.printEvent(fleet.Event{Timestamp: at("10:23:45.000"), Message: "a\x1b[2Jb\nc\u202ed"}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "[2024-01-15 10:23:45] a\uFFFD[2Jb c\uFFFDd\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
