package docker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

var discard = slog.New(slog.DiscardHandler)

// state is an inspect's answer about a container.
func state(running bool, started time.Time, ports nat.PortMap) any {
	return map[string]any{
		"Id": "0a", "Name": "/web", "State": map[string]any{"Running": running, "StartedAt": started.Format(time.RFC3339Nano)},
		"HostConfig": map[string]any{"PortBindings": ports},
	}
}

// never answers when the caller leaves, and not before.
func never(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // a server notices that the client has gone only then
	<-r.Context().Done()
}

func TestAStartThatTimesOutIsJudgedByTheContainer(t *testing.T) {
	f := newFakeEngine(t)
	p := f.pool(t)
	p.bounds.start = 100 * time.Millisecond
	f.handle("POST /containers/0a/start", never)
	f.on("GET /containers/0a/json", 200, state(true, time.Now().Add(time.Minute), nil))
	if err := p.Containers().Start(t.Context(), "local", "0a"); err != nil {
		t.Errorf("it runs, and yet: %v", err)
	}
	f.on("GET /containers/0a/json", 200, state(true, time.Now().Add(-time.Minute), nil))
	wantError(t, p.Containers().Start(t.Context(), "local", "0a"), fleet.Unavailable, "", "did not answer in time")
	f.handle("GET /containers/0a/json", never)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	wantError(t, p.Containers().Start(ctx, "local", "0a"), fleet.Unavailable, "", "did not answer in time")
}

func TestAStartGoesOnWhenItsCallerLeaves(t *testing.T) {
	f := newFakeEngine(t)
	p := f.pool(t)
	begun, ended := make(chan struct{}), make(chan error, 1)
	release := make(chan struct{})
	f.handle("POST /containers/0a/start", func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-release
		ended <- r.Context().Err()
		w.WriteHeader(http.StatusNoContent)
	})
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() { answered <- p.Containers().Start(ctx, "local", "0a") }()
	<-begun
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("the engine's call ended too: %v", err)
	}
}

func TestCloseWaitsForTheCallsThatOutliveTheirCallers(t *testing.T) {
	f := newFakeEngine(t)
	p := f.pool(t)
	begun := make(chan struct{})
	f.handle("POST /containers/0a/start", func(w http.ResponseWriter, r *http.Request) { close(begun); never(w, r) })
	answered := make(chan error, 1)
	go func() { answered <- p.Containers().Start(t.Context(), "local", "0a") }()
	<-begun
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-answered; err == nil {
		t.Error("a start that was ended is told as done")
	}
}

func TestAnEngineThatSaysNothingWasDoneIsNoError(t *testing.T) {
	f := newFakeEngine(t)
	f.on("POST /containers/0a/start", http.StatusNotModified, nil)
	if err := f.pool(t).Containers().Start(t.Context(), "local", "0a"); err != nil {
		t.Error(err)
	}
}

func TestTheHolderOfAPortIsLookedUp(t *testing.T) {
	rows := []struct {
		name, message string
		running       []map[string]any
		want          string
	}{
		{"a container", "Bind for 0.0.0.0:8080 failed: port is already allocated",
			[]map[string]any{{"Id": "0b", "Names": []string{"/other"}, "Ports": []map[string]any{{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}}}},
			"port 8080 of node local is taken by container other"},
		{"a container at another address", "Bind for 127.0.0.2:8081 failed: port is already allocated",
			[]map[string]any{{"Id": "0b", "Names": []string{"/other"}, "Ports": []map[string]any{{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8081, "Type": "tcp"}}}},
			"port 8081 of node local is taken by a process of the host"},
		{"udp is not tcp", "listen tcp4 0.0.0.0:8080: bind: address already in use",
			[]map[string]any{{"Id": "0b", "Names": []string{"/other"}, "Ports": []map[string]any{{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "udp"}}}},
			"port 8080 of node local is taken by a process of the host"},
		{"engine 28", "failed to bind host port for 0.0.0.0:8080:172.18.0.2:80/tcp: address already in use", nil,
			"port 8080 of node local is taken by a process of the host"},
		{"a message without a port", "port is already allocated", nil, "port 8080 of node local is taken by a process of the host"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := newFakeEngine(t)
			f.on("POST /containers/0a/start", 500, row.message)
			f.on("GET /containers/0a/json", 200, state(false, time.Time{}, nat.PortMap{
				"80/tcp": {{HostPort: "8080"}}, "81/tcp": {{HostIP: "127.0.0.2", HostPort: "8081"}},
			}))
			f.on("GET /containers/json", 200, append([]map[string]any{}, row.running...))
			err := f.pool(t).Containers().Start(t.Context(), "local", "0a")
			wantError(t, err, fleet.Conflict, "host_port", row.want)
		})
	}
}

func TestARequestSaysAllThatTheConfigSays(t *testing.T) {
	p := New("f1", discard)
	defer p.Close()
	body, host, networking := p.createRequest(fleet.ContainerConfig{
		Name: "web-0.net", Image: "i", Labels: map[string]string{"a": "b", fleet.LabelFleet: "another"},
		Env: map[string]fleet.Secret{"B": "2", "A": "1"}, Hostname: "web-0", Restart: "always", CPUShares: 512, MemoryMB: 64,
		Networks: []fleet.Attachment{{Network: "n", Address: netip.MustParseAddr("10.0.0.2"), Aliases: []string{"web"}}, {Network: "m"}},
		Ports:    []fleet.Port{{ContainerPort: 80, HostPort: 8080}, {ContainerPort: 81}, {ContainerPort: 53, HostPort: 53, HostIP: "127.0.0.1", Protocol: "udp"}},
	})
	if diff := cmp.Diff([]string{"A=1", "B=2"}, body.Env); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "b", "origin": "spawner", "spawner.fleet": "f1"}, body.Labels); diff != "" {
		t.Error(diff)
	}
	wantPorts := nat.PortMap{"80/tcp": {{HostIP: "0.0.0.0", HostPort: "8080"}}, "53/udp": {{HostIP: "127.0.0.1", HostPort: "53"}}}
	if diff := cmp.Diff(wantPorts, host.PortBindings); diff != "" {
		t.Error(diff)
	}
	if host.NetworkMode != "n" || host.Memory != 64<<20 || host.MemorySwap != 64<<20 || host.CPUShares != 512 || host.RestartPolicy.Name != "always" {
		t.Errorf("host: %+v", host)
	}
	if diff := cmp.Diff(container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}}, host.LogConfig); diff != "" {
		t.Error(diff)
	}
	first := networking.EndpointsConfig["n"]
	if len(networking.EndpointsConfig) != 1 || first.IPAMConfig.IPv4Address != "10.0.0.2" || first.Aliases[0] != "web" || body.Hostname != "web-0" {
		t.Errorf("networks: %+v", networking.EndpointsConfig)
	}
	_, host, networking = p.createRequest(fleet.ContainerConfig{Name: "web-0", SandboxID: "0b", Volumes: []fleet.Volume{{Name: "data", Path: "/data"}, {Name: "seed", Path: "/seed", ReadOnly: true}}})
	ours := &mount.VolumeOptions{Labels: map[string]string{"origin": "spawner", "spawner.fleet": "f1"}}
	wantMounts := []mount.Mount{
		{Type: mount.TypeVolume, Source: "data", Target: "/data", VolumeOptions: ours},
		{Type: mount.TypeVolume, Source: "seed", Target: "/seed", ReadOnly: true, VolumeOptions: ours},
	}
	if diff := cmp.Diff(wantMounts, host.Mounts); diff != "" {
		t.Error(diff)
	}
	if host.NetworkMode != "container:0b" || len(networking.EndpointsConfig) != 0 {
		t.Errorf("an app: %+v, %+v", host.NetworkMode, networking)
	}
}

func TestAContainerThatCannotBeConnectedIsRemovedAgain(t *testing.T) {
	f := newFakeEngine(t)
	for _, name := range []string{"n", "m"} {
		f.on("GET /networks/"+name, 200, map[string]any{"Id": name, "Name": name})
	}
	f.on("POST /containers/create", 201, map[string]any{"Id": "0a"})
	f.on("POST /networks/m/connect", 500, "something broke")
	f.on("DELETE /containers/0a", 204, nil)
	_, err := f.pool(t).Containers().Create(t.Context(), "local", fleet.ContainerConfig{Name: "web", Image: "i", Networks: []fleet.Attachment{{Network: "n"}, {Network: "m"}}})
	wantError(t, err, fleet.Internal, "", "cannot create container web")
	if f.count("DELETE /containers/0a") != 1 {
		t.Error("it was left behind")
	}
}

func TestTheHealthOfAListIsReadFromItsWords(t *testing.T) {
	for status, want := range map[string]fleet.Health{
		"Up 3 minutes (healthy)": fleet.Healthy, "Up 2 seconds (health: starting)": fleet.Starting, "Up 1 hour (unhealthy)": fleet.Unhealthy,
		"Up 3 minutes": fleet.Unknown, "Exited (0) 2 minutes ago": fleet.Unknown, "Up 3 minutes (Paused)": fleet.Unknown, "": fleet.Unknown,
	} {
		if got := healthOfStatus(status); got != want {
			t.Errorf("%q: got %s, want %s", status, got, want)
		}
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	f := newFakeEngine(t)
	f.on("POST /containers/create", 400, "no")
	_, err := f.pool(t).Containers().Create(t.Context(), "local", fleet.ContainerConfig{Name: "web", Image: "i", Env: map[string]fleet.Secret{"K": "hunter2"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
