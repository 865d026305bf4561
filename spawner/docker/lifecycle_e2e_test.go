//go:build e2e

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestAReplicaKeepsItsAddressWhileItsAppComesAndGoes(t *testing.T) {
	r := newRig(t)
	sandbox := r.sandbox("dk-e2e-web", 10)
	app := r.app("dk-e2e-web", sandbox, map[string]fleet.Secret{"IDLE": "0", "CONNSTR": "db=1"})
	var times, calls []time.Duration
	for range 11 {
		began := time.Now()
		r.start(app)
		calls = append(calls, time.Since(began))
		r.answers(r.address(10))
		times = append(times, time.Since(began))
		r.stop(app)
	}
	slices.Sort(times)
	slices.Sort(calls)
	t.Logf("start into the sandbox to the first answer: median %s, of which the engine's call %s; all %v", times[len(times)/2], calls[len(calls)/2], times)

	r.start(app)
	inside, outside := r.inspect(app), r.inspect(sandbox)
	if outside.Addresses[testNetwork] != r.address(10) {
		t.Errorf("the sandbox has %v, want %s", outside.Addresses, r.address(10))
	}
	if inside.SandboxID != sandbox || inside.Env["CONNSTR"].Reveal() != "db=1" || inside.Status != fleet.ContainerRunning || inside.PID == 0 || inside.StartedAt.IsZero() {
		t.Errorf("the app is told as %+v", inside)
	}
	list, err := r.pool.Containers().List(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.ID == app && (c.SandboxID != sandbox || c.Name != "dk-e2e-web" || c.Labels[fleet.LabelOrigin] != fleet.OriginSpawner || c.Status != fleet.ContainerRunning) {
			t.Errorf("the list tells the app as %+v", c)
		}
		if c.ID == sandbox && c.Addresses[testNetwork] != r.address(10) {
			t.Errorf("the list tells the sandbox as %+v", c)
		}
	}
	if len(list) != 2 {
		t.Errorf("the list has %d containers, want 2", len(list))
	}
}

func TestWhatEachStateAnswers(t *testing.T) {
	r := newRig(t)
	c, f, ctx := r.pool.Containers(), r.pool.Freezer(), t.Context()
	sandbox := r.sandbox("dk-e2e-states", 11)
	app := r.app("dk-e2e-states", sandbox, nil)

	r.want("pause of a created one", f.Pause(ctx, testNode, app), fleet.Conflict, "")
	r.want("unpause of a created one", f.Unpause(ctx, testNode, app), fleet.Conflict, "")
	r.stop(app) // created: nil
	_, err := r.pool.Shell().Exec(ctx, testNode, app, []string{"/app", "health"})
	r.want("exec in a created one", err, fleet.Conflict, "")
	r.start(app)
	r.start(app) // running: the engine says nothing
	r.answers(r.address(11))
	for range 2 {
		if err := f.Pause(ctx, testNode, app); err != nil {
			t.Errorf("pause: %v", err)
		}
	}
	r.want("start of a paused one", c.Start(ctx, testNode, app), fleet.Conflict, "")
	_, err = r.pool.Shell().Exec(ctx, testNode, app, []string{"/app", "health"})
	r.want("exec in a paused one", err, fleet.Conflict, "")
	for range 2 {
		if err := f.Unpause(ctx, testNode, app); err != nil {
			t.Errorf("unpause: %v", err)
		}
	}
	if err := f.Pause(ctx, testNode, app); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := c.Stop(ctx, testNode, app, 30*time.Second); err != nil {
		t.Errorf("stop of a paused one: %v", err)
	}
	if found := r.inspect(app); time.Since(began) > 20*time.Second || found.ExitCode != 0 || found.Status != fleet.ContainerExited {
		t.Errorf("stop of a paused one took %s and left %s with exit %d", time.Since(began), found.Status, found.ExitCode)
	}
	r.want("pause of an exited one", f.Pause(ctx, testNode, app), fleet.Conflict, "")
	if err := f.Unpause(ctx, testNode, app); fleet.KindOf(err) != fleet.Conflict {
		t.Errorf("unpause of an exited one: %v", err)
	}
	r.stop(app) // exited: nil

	_, err = c.Create(ctx, testNode, fleet.ContainerConfig{Name: "dk-e2e-states", Image: appImage})
	r.want("create with a name that is taken", err, fleet.Conflict, "name")
	_, err = c.Create(ctx, testNode, fleet.ContainerConfig{Name: "dk-e2e-noimage", Image: "dk-e2e-none:v1"})
	r.want("create without the image", err, fleet.NotFound, "image")

}

func TestWhatARemovedContainerAnswers(t *testing.T) {
	r := newRig(t)
	c, f, ctx := r.pool.Containers(), r.pool.Freezer(), t.Context()
	app := r.app("dk-e2e-removed", r.sandbox("dk-e2e-removed", 18), nil)
	r.start(app)
	if err := f.Pause(ctx, testNode, app); err != nil {
		t.Fatal(err)
	}
	for range 2 { // paused, then gone
		if err := c.Remove(ctx, testNode, app); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	r.want("start of a removed one", c.Start(ctx, testNode, app), fleet.NotFound, "")
	r.want("stop of a removed one", c.Stop(ctx, testNode, app, 0), fleet.NotFound, "")
	r.want("pause of a removed one", f.Pause(ctx, testNode, app), fleet.NotFound, "")
	r.want("unpause of a removed one", f.Unpause(ctx, testNode, app), fleet.NotFound, "")
	_, err := c.Inspect(ctx, testNode, app)
	r.want("inspect of a removed one", err, fleet.NotFound, "")
	_, err = r.pool.Shell().Exec(ctx, testNode, app, []string{"x"})
	r.want("exec in a removed one", err, fleet.NotFound, "")
}

func TestAStartThatCannotBeSaysWhatIsMissing(t *testing.T) {
	r := newRig(t)
	c, ctx := r.pool.Containers(), t.Context()
	sandbox := r.sandbox("dk-e2e-miss", 12)
	app := r.app("dk-e2e-miss", sandbox, nil)
	bad := r.create(fleet.ContainerConfig{Name: "dk-e2e-badcmd", Image: appImage, SandboxID: sandbox, Entrypoint: []string{"/none"}})
	r.want("start of a command that is not there", c.Start(ctx, testNode, bad), fleet.Invalid, "command")
	user := r.create(fleet.ContainerConfig{Name: "dk-e2e-baduser", Image: appImage, SandboxID: sandbox, User: "nobody-here"})
	r.want("start as a user who is not there", c.Start(ctx, testNode, user), fleet.Invalid, "user")

	r.stop(sandbox)
	r.want("start into a sandbox that is down", c.Start(ctx, testNode, app), fleet.Conflict, "sandbox")
	if err := c.Remove(ctx, testNode, sandbox); err != nil {
		t.Fatal(err)
	}
	r.want("start into a sandbox that is gone", c.Start(ctx, testNode, app), fleet.NotFound, "sandbox")

	r.sandbox("dk-e2e-dup", 13)
	second := r.create(fleet.ContainerConfig{Name: "dk-e2e-dup2.net", Image: sandboxImage, Networks: []fleet.Attachment{{Network: testNetwork, Address: r.address(13)}}})
	r.want("start with an address that is taken", c.Start(ctx, testNode, second), fleet.Conflict, "address")
}

func TestAStartSaysThatItsNetworkIsGone(t *testing.T) {
	r := newRig(t)
	ctx, w := t.Context(), r.pool.Networks()
	if _, err := w.Create(ctx, testNode, fleet.NetworkConfig{Name: "dk-e2e-gone", Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	id := r.create(fleet.ContainerConfig{Name: "dk-e2e-gone.net", Image: sandboxImage, Networks: []fleet.Attachment{{Network: "dk-e2e-gone"}}})
	if err := w.Remove(ctx, testNode, "dk-e2e-gone"); err != nil {
		t.Fatal(err)
	}
	r.want("start without its network", r.pool.Containers().Start(ctx, testNode, id), fleet.NotFound, "networks")
	_, err := r.pool.Containers().Create(ctx, testNode, fleet.ContainerConfig{Name: "dk-e2e-gone2.net", Image: sandboxImage, Networks: []fleet.Attachment{{Network: testNetwork}, {Network: "dk-e2e-gone"}}})
	r.want("create on a second network that is not there", err, fleet.NotFound, "networks")
	list, err := r.pool.Containers().List(ctx, testNode)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Name == "dk-e2e-gone2.net" {
			t.Error("the container that could not be connected was left behind")
		}
	}
}

func TestATakenHostPortNamesItsHolder(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	publish := func(name string, n int) string {
		return r.create(fleet.ContainerConfig{
			Name: name, Image: sandboxImage, Networks: []fleet.Attachment{{Network: testNetwork, Address: r.address(n)}},
			Ports: []fleet.Port{{ContainerPort: 9000, HostPort: port, HostIP: "127.0.0.1"}, {ContainerPort: 9001}},
		})
	}
	one, two := publish("dk-e2e-port1.net", 14), publish("dk-e2e-port2.net", 15)
	err = r.pool.Containers().Start(ctx, testNode, one)
	r.want("start on a port of a process", err, fleet.Conflict, "host_port")
	if !strings.Contains(err.Error(), "a process of the host") {
		t.Errorf("the holder is not named: %v", err)
	}
	listener.Close()
	r.start(one)
	err = r.pool.Containers().Start(ctx, testNode, two)
	r.want("start on a port of a container", err, fleet.Conflict, "host_port")
	if !strings.Contains(err.Error(), "container dk-e2e-port1.net") {
		t.Errorf("the holder is not named: %v", err)
	}
	want := fleet.Port{ContainerPort: 9000, HostPort: port, HostIP: "127.0.0.1", Protocol: "tcp"}
	if got := r.inspect(one).Ports; len(got) != 1 || got[0] != want {
		t.Errorf("it publishes %v, want %v", got, want)
	}
}

func TestACallerWhoLeavesDoesNotEndAStart(t *testing.T) {
	r := newRig(t)
	sandbox := r.sandbox("dk-e2e-leave", 16)
	app := r.app("dk-e2e-leave", sandbox, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.pool.Containers().Start(ctx, testNode, app); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the caller's own end", err)
	}
	r.answers(r.address(16))
	if err := r.pool.Containers().Stop(ctx, testNode, app, time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the caller's own end", err)
	}
	for r.inspect(app).Status != fleet.ContainerExited {
		pauseFor(t.Context(), 5*time.Millisecond)
	}
}

func TestCommandsAndConnectionsInside(t *testing.T) {
	r := newRig(t)
	ctx, s := t.Context(), r.pool.Shell()
	sandbox := r.sandbox("dk-e2e-exec", 17)
	app := r.app("dk-e2e-exec", sandbox, nil)
	r.start(app)
	r.answers(r.address(17))
	result, err := s.Exec(ctx, testNode, app, []string{"/app", "health"})
	if err != nil || result.ExitCode != 0 {
		t.Errorf("health: %+v, %v", result, err)
	}
	result, err = s.Exec(ctx, testNode, app, []string{"/none"})
	if err != nil || result.ExitCode < 126 || !strings.Contains(string(result.Output), "no such file") {
		t.Errorf("a command that is not there: %d %q, %v", result.ExitCode, result.Output, err)
	}
	connection, err := net.Dial("tcp", net.JoinHostPort(r.address(17).String(), "9000"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	began := time.Now()
	result, err = s.Exec(ctx, testNode, sandbox, []string{"/sandbox", "conns"})
	t.Logf("conns took %s and told %s", time.Since(began), result.Output)
	var list []fleet.Connection
	if err != nil || json.Unmarshal(result.Output, &list) != nil {
		t.Fatalf("conns: %+v, %v", result, err)
	}
	if !slices.ContainsFunc(list, func(c fleet.Connection) bool {
		return c.Inbound && c.Remote.String() == connection.LocalAddr().String() && c.Local.Addr() == r.address(17)
	}) {
		t.Errorf("our connection from %s is not in %s", connection.LocalAddr(), result.Output)
	}
	bounded, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := s.Exec(bounded, testNode, sandbox, []string{"/sandbox"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that does not end: %v", err)
	}
}
