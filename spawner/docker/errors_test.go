package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"

	"edgespawner/fleet"
)

// What engines of several versions say, and what it means.
func TestTheEnginesWordsBecomeKindsAndFields(t *testing.T) {
	rows := []struct {
		status  int
		message string
		kind    fleet.Kind
		field   string
	}{
		{500, `driver failed programming external connectivity on endpoint web (0a): Bind for 0.0.0.0:8080 failed: port is already allocated`, fleet.Conflict, "host_port"},
		{500, `driver failed programming external connectivity on endpoint web (0a): Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use`, fleet.Conflict, "host_port"},
		{500, `failed to set up container networking: driver failed programming external connectivity on endpoint web (0a): failed to bind host port for 0.0.0.0:8080:172.18.0.2:80/tcp: address already in use`, fleet.Conflict, "host_port"},
		{500, `ports are not available: exposing port TCP 0.0.0.0:8080 -> 127.0.0.1:0: listen tcp 0.0.0.0:8080: bind: address already in use`, fleet.Conflict, "host_port"},
		{403, `Address already in use`, fleet.Conflict, "address"},
		{403, `failed to set up container networking: Address already in use`, fleet.Conflict, "address"},
		{403, `Pool overlaps with other one on this address space`, fleet.Conflict, "subnet"},
		{403, `invalid pool request: Pool overlaps with other one on this address space`, fleet.Conflict, "subnet"},
		{500, `could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network`, fleet.Unavailable, "subnet"},
		{409, `cannot join network of a non running container: 0a`, fleet.Conflict, "sandbox"},
		{404, `No such image: x:latest`, fleet.NotFound, "image"},
		{500, `Could not attach to network n: rpc error: code = NotFound desc = network n not found`, fleet.NotFound, "networks"},
		{500, `Could not attach to network n: context deadline exceeded`, fleet.Unavailable, "networks"},
		{500, `Could not attach to network n: rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.`, fleet.Unavailable, "networks"},
		{500, `attaching to network failed, make sure your network options are correct and check manager logs: context deadline exceeded`, fleet.Unavailable, "networks"},
		{500, `invalid cluster node while attaching to network`, fleet.Unavailable, "networks"},
		{404, `network n not found`, fleet.NotFound, "networks"},
		{409, `Conflict. The container name "/web" is already in use by container "0a". You have to remove (or rename) that container to be able to reuse that name.`, fleet.Conflict, "name"},
		{409, `network with name n already exists`, fleet.Conflict, "name"},
		{400, `failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "x": executable file not found in $PATH: unknown`, fleet.Invalid, "command"},
		{400, `failed to create task for container: failed to create shim task: OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:545: something`, fleet.Invalid, ""},
		{400, `No command specified`, fleet.Invalid, "command"},
		{500, `unable to find user x: no matching entries in passwd file`, fleet.Invalid, "user"},
		{400, `Minimum memory limit allowed is 6MB`, fleet.Invalid, "resources.memory_mb"},
		{400, `invalid reference format`, fleet.Invalid, "image"},
		{409, `container is marked for removal and cannot be started`, fleet.Conflict, ""},
		{409, `removal of container web is already in progress`, fleet.Conflict, ""},
		{409, `cannot start a paused container, try unpause instead`, fleet.Conflict, ""},
		{409, `Container 0a is restarting, wait until the container is running`, fleet.Conflict, ""},
		{500, `Container 0a is not paused`, fleet.Conflict, ""},
		{404, `No such container: web`, fleet.NotFound, ""},
		{400, `something is wrong with the request`, fleet.Invalid, ""},
		{403, `denied by a plugin`, fleet.Forbidden, ""},
		{503, `engine is shutting down`, fleet.Unavailable, ""},
		{500, `container 0a: driver "overlay2" failed to remove root filesystem: unlinkat /var/lib/docker/x: device or resource busy`, fleet.Unavailable, ""},
		{500, `OCI runtime create failed: runc create failed: unable to start container process: fork/exec /proc/self/exe: resource temporarily unavailable`, fleet.Unavailable, ""},
		{500, `ttrpc: closed: unknown`, fleet.Unavailable, ""},
		{500, `connection error: desc = "transport: Error while dialing dial unix /run/containerd/containerd.sock: connect: connection refused"`, fleet.Unavailable, ""},
		{500, `something broke`, fleet.Internal, ""},
	}
	f := newFakeEngine(t)
	p := f.pool(t)
	for _, row := range rows {
		f.on("POST /containers/0a/pause", row.status, row.message)
		err := p.Freezer().Pause(t.Context(), "local", "0a")
		wantError(t, err, row.kind, row.field, row.message) // the engine's own words are kept
		if !strings.Contains(err.Error(), `cannot pause container "0a" on node local: `) {
			t.Errorf("the error does not say what was tried: %v", err)
		}
	}
}

func TestASwarmThatGivesNoNetworkIsBlamedAndNotTheNode(t *testing.T) {
	for _, said := range []string{
		"attaching to network failed, make sure your network options are correct and check manager logs: context deadline exceeded",
		"Could not attach to network n: rpc error: code = Unknown desc = The swarm does not have a leader.",
	} {
		f := newFakeEngine(t)
		f.on("POST /containers/0a/start", 500, said)
		err := f.pool(t).Containers().Start(t.Context(), "local", "0a")
		wantError(t, err, fleet.Unavailable, "networks", "its swarm did not give it the network in time: the swarm may have no leader that answers: "+said)
	}
}

func TestAnEngineThatAnswersAndWaitsForItsSwarmIsNotCalledSilent(t *testing.T) {
	for _, inSwarm := range []bool{true, false} {
		f := newFakeEngine(t)
		f.handle("GET /networks/n", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		state := map[bool]swarm.LocalNodeState{true: swarm.LocalNodeStateActive, false: swarm.LocalNodeStateInactive}[inSwarm]
		f.on("GET /info", http.StatusOK, system.Info{Swarm: swarm.Info{NodeID: "s1", LocalNodeState: state}})
		p := f.pool(t)
		if _, err := p.Info(t.Context(), "local"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := p.Networks().Find(ctx, "local", "n")
		if inSwarm {
			wantError(t, err, fleet.Unavailable, "networks", "node local answers, but its swarm did not give it the network n in time: the swarm may have no leader that answers")
		} else {
			wantError(t, err, fleet.Unavailable, "", "did not answer in time")
		}
	}
}

func TestAnEngineThatCannotBeReachedIsExplainedInOneLine(t *testing.T) {
	dir := t.TempDir()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for endpoint, part := range map[string]string{
		"unix://" + filepath.Join(dir, "none.sock"): "there is no Docker socket at",
		"tcp://" + closed.Addr().String():           "nothing listens at",
	} {
		p := New("f1", discard)
		defer p.Close()
		if err := p.Add(fleet.Node{Name: "local", Endpoint: endpoint}); err != nil {
			t.Fatal(err)
		}
		_, err := p.Info(t.Context(), "local")
		wantError(t, err, fleet.Unavailable, "", part)
		if strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), endpoint) != 1 || strings.Contains(err.Error(), "DOCKER_HOST") {
			t.Errorf("not one sentence with the endpoint and the cause: %v", err)
		}
		_, err = p.Try(t.Context(), fleet.Node{Name: "other", Endpoint: endpoint})
		wantError(t, err, fleet.Unavailable, "endpoint", "cannot reach the engine on node other: "+part+" "+endpoint)
		var once *failure
		if !errors.As(err, &once) || seenBy(once.cause) != nil {
			t.Errorf("it is told with another error of the same words: %v", once.cause)
		}
		lost := <-p.Watcher().Watch(t.Context(), "local")
		if want := part + " " + endpoint; lost.Err == nil || lost.Err.Error() != want {
			t.Errorf("a watch says %v, want %s alone: which node it is stands before it", lost.Err, want)
		}
	}
	for _, says := range []string{"hello", "{}", "<html>"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, says) }))
		defer server.Close()
		p := New("f1", discard)
		defer p.Close()
		_, err := p.Try(t.Context(), fleet.Node{Name: "other", Endpoint: "tcp://" + server.Listener.Addr().String()})
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "no Docker engine") && !strings.Contains(err.Error(), "too old") {
			t.Errorf("of what says %q it is told: %v", says, err)
		}
	}
	lookup := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "nowhere"}}
	if line, want := explainDial("tcp://nowhere:1", lookup), "no connection to tcp://nowhere:1: lookup nowhere: no such host"; line != want {
		t.Errorf("got %q, want %q", line, want)
	}
	denied := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)}
	if line := explainDial(DefaultEndpoint, denied); !strings.Contains(line, "no permission for the Docker socket") || !strings.Contains(line, "usermod") {
		t.Errorf("got %s", line)
	}
}

func TestACallerWhoLeftIsToldItsOwnEnd(t *testing.T) {
	f := newFakeEngine(t)
	p := f.pool(t)
	if _, err := p.Info(t.Context(), "local"); err == nil {
		t.Fatal("the fake has no /info")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Containers().List(ctx, "local"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestEndpointsAreUnderstoodOrRefusedByName(t *testing.T) {
	for endpoint, want := range map[string]string{
		"unix:///var/run/docker.sock": "unix /var/run/docker.sock",
		"tcp://node-1:2376":           "tcp node-1:2376",
		"tcp://[fd00::1]:2376":        "tcp [fd00::1]:2376",
	} {
		network, address, err := parseEndpoint(endpoint)
		if got := fmt.Sprint(network, " ", address); err != nil || got != want {
			t.Errorf("%s: got %s, %v", endpoint, got, err)
		}
	}
	for _, endpoint := range []string{"node-1:2376", "tcp://node-1", "ftp://node-1:1", "unix://", "tcp://%zz"} {
		_, _, err := parseEndpoint(endpoint)
		wantError(t, err, fleet.Invalid, "endpoint", endpoint)
	}
}

func TestANodeThatIsNotKnownIsUnavailable(t *testing.T) {
	p := New("f1", discard)
	defer p.Close()
	wantError(t, p.Containers().Start(t.Context(), "x", "0a"), fleet.Unavailable, "", `node "x" is not known`)
}

func TestWhenAnEngineWasLastHeardIsKeptWhileItIsSilent(t *testing.T) {
	f := newFakeEngine(t)
	p := f.pool(t)
	if at := p.Heard("local"); !at.IsZero() {
		t.Errorf("heard at %s before it was asked", at)
	}
	began := time.Now()
	if err := p.Ping(t.Context(), "local"); err != nil {
		t.Fatal(err)
	}
	heard := p.Heard("local")
	if heard.Before(began.Truncate(0).Add(-time.Millisecond)) {
		t.Errorf("heard at %s, asked at %s", heard, began)
	}
	f.CloseClientConnections()
	f.Server.Close()
	if err := p.Ping(t.Context(), "local"); err == nil {
		t.Fatal("it still answers")
	}
	if at := p.Heard("local"); !at.Equal(heard) {
		t.Errorf("while it is silent: %s, it was %s", at, heard)
	}
	if err := p.Add(fleet.Node{Name: "local", Endpoint: "tcp://" + f.Listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	if at := p.Heard("local"); !at.Equal(heard) {
		t.Errorf("after an update: %s, it was %s", at, heard)
	}
	if at := p.Heard("nobody"); !at.IsZero() {
		t.Errorf("a node that is not known was heard at %s", at)
	}
}
