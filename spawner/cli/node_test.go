package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

// write makes a file below a temporary folder.
func write(t *testing.T, text string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func sent(t *testing.T, s *spawnerStub) fleet.NodeSpec {
	t.Helper()
	var spec fleet.NodeSpec
	if err := fleet.DecodeStrict(strings.NewReader(s.body), &spec); err != nil {
		t.Fatalf("%s: %v", s.body, err)
	}
	return spec
}

func TestANodeIsAddedWithWhatItsFilesHold(t *testing.T) {
	dir := t.TempDir()
	s := newSpawner(t, map[string]any{"POST /api/nodes": fleet.Node{Name: "n2", Version: "20.10", CPUs: 2, MemoryMB: 2048}})
	got := s.ask(t, "node", "add", "n2", "--endpoint", "tcp://10.0.0.2:2376", "--address", "10.0.0.2", "--label", "zone=b", "--label", "disk=",
		"--tls-ca", write(t, "CA", dir, "ca"), "--tls-cert", write(t, "CERT", dir, "cert"), "--tls-key", write(t, "very-secret", dir, "key"))
	if got.code != 0 || got.out != "Node n2 is there: engine 20.10, 2 CPUs, 2.0 GiB\n" {
		t.Fatalf("got %+v", got)
	}
	want := fleet.NodeSpec{
		Name: "n2", Endpoint: "tcp://10.0.0.2:2376", Address: "10.0.0.2", Labels: map[string]string{"zone": "b", "disk": ""},
		TLS: &fleet.NodeTLS{CA: "CA", Cert: "CERT", Key: "very-secret"},
	}
	if diff := cmp.Diff(want, sent(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestADockerContextIsImportedByItsName(t *testing.T) {
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("backup"))
	id := hex.EncodeToString(sum[:])
	write(t, `{"Name":"backup","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://10.0.0.3:2376","SkipTLSVerify":false}}}`, dir, "contexts", "meta", id, "meta.json")
	for file, text := range map[string]string{"ca.pem": "CA", "cert.pem": "CERT", "key.pem": "very-secret"} {
		write(t, text, dir, "contexts", "tls", id, "docker", file)
	}
	s := newSpawner(t, map[string]any{"POST /api/nodes": fleet.Node{Name: "n3"}})
	environment := []string{"SPAWNER_URL", s.URL, "SPAWNER_TOKEN", "quite-secret", "DOCKER_CONFIG", dir}
	if got := run(t, "", "", environment, "node", "add", "n3", "--context", "backup"); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	want := fleet.NodeSpec{Name: "n3", Endpoint: "tcp://10.0.0.3:2376", TLS: &fleet.NodeTLS{CA: "CA", Cert: "CERT", Key: "very-secret"}}
	if diff := cmp.Diff(want, sent(t, s)); diff != "" {
		t.Error(diff)
	}
	got := run(t, "", "", environment, "node", "add", "n3", "--context", "other")
	if got.code != 1 || !strings.Contains(got.err, `there is no docker context "other"`) {
		t.Errorf("got %+v", got)
	}
	got = run(t, "", "", environment, "node", "add", "n3", "--context", "default")
	if got.code != 1 || !strings.Contains(got.err, "give its --endpoint") {
		t.Errorf("got %+v", got)
	}
}

func TestANodeWithoutAWayToItIsAUsageError(t *testing.T) {
	s := newSpawner(t, nil)
	for _, args := range [][]string{
		{"node", "add", "n2"},
		{"node", "add", "n2", "--endpoint", "unix:///x", "--context", "y"},
		{"node", "add", "n2", "--endpoint", "unix:///x", "--label", "zone"},
		{"node", "add", "n2", "--endpoint", "unix:///x", "--label", "zone=a", "--label", "zone=b"},
	} {
		if got := s.ask(t, args...); got.code != exitUsage || len(s.questions()) > 0 {
			t.Errorf("%q: got %+v, asked %q", args, got, s.questions())
		}
	}
}

func TestALabelThatIsGivenTwiceIsNamed(t *testing.T) {
	s := newSpawner(t, nil)
	got := s.ask(t, "node", "add", "n2", "--endpoint", "unix:///x", "--label", "zone=a", "--label", "disk=ssd", "--label", "zone=a")
	if got.code != exitUsage || !strings.HasPrefix(got.err, "spawner: --label zone is given twice: ") {
		t.Errorf("got %+v", got)
	}
}

func TestADrainWaitsUntilTheNodeIsEmpty(t *testing.T) {
	left, looks := 2, 0
	jobs := []fleet.Job{{ID: "j2", Kind: fleet.JobDrain, Node: "n3", State: fleet.JobFailed}, {ID: "j1", Kind: fleet.JobDrain, Node: "n2", State: fleet.JobRunning}}
	s := newSpawner(t, map[string]any{
		"GET /api/jobs": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, jobs) }),
		"GET /api/jobs/j1": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			job := fleet.Job{ID: "j1", State: fleet.JobRunning}
			if looks++; looks > 3 { // what was replaced is being removed for a while
				job.State = fleet.JobSucceeded
			}
			answerJSON(w, http.StatusOK, job)
		}),
		"GET /api/jobs/j3":         fleet.Job{ID: "j3", State: fleet.JobFailed, Error: "no other node has room"},
		"POST /api/nodes/n2/drain": fleet.Node{Name: "n2", Draining: true, Replicas: left},
		"GET /api/nodes/n2": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			left = max(left-1, 0)
			answerJSON(w, http.StatusOK, fleet.Node{Name: "n2", Draining: true, Replicas: left})
		}),
	})
	got := s.ask(t, "node", "drain", "n2")
	if got.code != 0 || got.out != "Node n2 is draining: 0 replicas are there\n" || !strings.Contains(got.err, "1 replica is still on node n2") || looks < 4 {
		t.Errorf("got %+v after %d looks at the drain", got, looks)
	}
	left, jobs = 9, []fleet.Job{{ID: "j3", Kind: fleet.JobDrain, Node: "n2", State: fleet.JobRunning}}
	if got := s.ask(t, "node", "drain", "n2"); got.code != exitFailed || !strings.Contains(got.err, "no other node has room (spawner jobs show j3)") {
		t.Errorf("a drain that failed: %+v", got)
	}
	if got := s.ask(t, "node", "drain", "n2", "--no-wait"); got.code != 0 || !strings.Contains(got.out, "2 replicas are there") {
		t.Errorf("got %+v", got)
	}
}

func TestANodeIsRemovedByForceOnlyWhenThatIsSaid(t *testing.T) {
	s := newSpawner(t, map[string]any{"DELETE /api/nodes/n2": nil})
	if got := s.ask(t, "node", "rm", "n2"); got.code != 0 || got.out != "Removed node n2\n" {
		t.Errorf("got %+v", got)
	}
	if got := s.ask(t, "node", "rm", "n2", "--force"); got.code != 0 {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"DELETE /api/nodes/n2", "DELETE /api/nodes/n2?force=true"}, s.questions()); diff != "" {
		t.Error(diff)
	}
}

func TestAnUpdateOfANodeKeepsWhatItDoesNotName(t *testing.T) {
	s := newSpawner(t, map[string]any{
		"GET /api/nodes/n2": fleet.Node{Name: "n2", Endpoint: "ssh://me@b", Address: "10.0.0.2", Labels: map[string]string{"zone": "b"}},
		"POST /api/nodes":   fleet.Node{Name: "n2"},
	})
	if got := s.ask(t, "node", "add", "n2", "--update", "--address", "10.0.0.9"); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	want := fleet.NodeSpec{Name: "n2", Endpoint: "ssh://me@b", Address: "10.0.0.9", Labels: map[string]string{"zone": "b"}, Update: true}
	if diff := cmp.Diff(want, sent(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestThatASharedNetworkHangsByOneNodeIsSaidWhereNodesAreListedAndAdded(t *testing.T) {
	pair := []fleet.Node{
		{Name: "n1", State: fleet.NodeReady, Swarm: &fleet.NodeSwarm{ID: "s1", Manager: true}},
		{Name: "n2", State: fleet.NodeReady, Swarm: &fleet.NodeSwarm{ID: "s2"}},
		{Name: "n3", State: fleet.NodeReady},
	}
	const want = "2 nodes are in the shared network, with one manager: while node n1 is away, nothing new starts on it. With three nodes there one may be lost\n"
	s := newSpawner(t, map[string]any{"GET /api/nodes": pair, "POST /api/nodes": pair[1]})
	if got := s.ask(t, "node", "ls"); got.err != want {
		t.Errorf("node ls says %q, want %q", got.err, want)
	}
	if got := s.ask(t, "node", "add", "n2", "--endpoint", "ssh://me@b", "--join-network"); got.code != 0 || got.err != want {
		t.Errorf("node add says %q, want %q", got.err, want)
	}
	if got := s.ask(t, "node", "add", "n2", "--endpoint", "ssh://me@b"); got.err != "" {
		t.Errorf("node add of one that joins nothing says %q", got.err)
	}
	pair[2].Swarm = &fleet.NodeSwarm{ID: "s3", Manager: true}
	s = newSpawner(t, map[string]any{"GET /api/nodes": pair})
	if got := s.ask(t, "node", "ls"); got.err != "" {
		t.Errorf("of three nodes node ls says %q", got.err)
	}
}

func TestANodeThatWaitsForItsSwarmIsListedAsSuch(t *testing.T) {
	why := "it has not found its swarm's managers"
	s := newSpawner(t, map[string]any{"GET /api/nodes": []fleet.Node{
		{Name: "n1", State: fleet.NodeReady, Swarm: &fleet.NodeSwarm{ID: "s1"}},
		{Name: "n2", State: fleet.NodeReady, Swarm: &fleet.NodeSwarm{ID: "s2", Waits: why}},
	}})
	got := s.ask(t, "node", "ls")
	if lines := strings.Split(got.out, "\n"); len(lines) < 3 || strings.Contains(lines[1], "waits") || !strings.Contains(lines[2], "ready, waits for its swarm") {
		t.Errorf("it says\n%s", got.out)
	}
	if want := "n2: cannot use the network that nodes share yet: " + why + "\n"; got.err != want {
		t.Errorf("it says %q, want %q", got.err, want)
	}
}
