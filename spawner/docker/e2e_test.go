//go:build e2e

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"edgespawner/fleet"
)

// The names of what these tests make on the engine; all is removed afterwards.
const (
	testFleet    = "dk-e2e"
	testNode     = "local"
	sandboxImage = "dk-e2e-sandbox:v1"
	appImage     = "dk-e2e-app:v1"
	checkedImage = "dk-e2e-checked:v1"
	testNetwork  = "dk-e2e-net"
)

// binaries are the static programs that the images hold, by name.
var binaries = map[string][]byte{}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "dk-e2e")
	if err != nil {
		panic(err)
	}
	for name, source := range map[string]string{"sandbox": "../../sandbox", "app": "../../mock-app"} {
		path := filepath.Join(dir, name)
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("cannot build %s: %v\n%s", name, err, output))
		}
		if binaries[name], err = os.ReadFile(path); err != nil {
			panic(err)
		}
	}
	os.RemoveAll(dir)
	code := m.Run()
	sweep()
	os.Exit(code)
}

// sweep removes everything of the test's fleet, and its images.
func sweep() {
	p := New(testFleet, slog.New(slog.DiscardHandler))
	if err := p.Add(fleet.Node{Name: testNode, Endpoint: os.Getenv("DOCKER_HOST")}); err != nil {
		panic(err)
	}
	defer p.Close()
	ctx := context.Background()
	n, err := p.engine(ctx, testNode)
	if err != nil {
		panic(err)
	}
	found, err := n.client.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(p.ours())})
	if err != nil {
		panic(err)
	}
	for _, c := range found {
		p.Containers().Remove(ctx, testNode, c.ID)
	}
	p.Networks().Remove(ctx, testNode, testNetwork)
	for _, ref := range []string{sandboxImage, appImage, checkedImage} {
		n.client.ImageRemove(ctx, ref, image.RemoveOptions{Force: true})
	}
	n.client.ImageRemove(ctx, leaseImage, image.RemoveOptions{}) // stays where another fleet uses it
}

// rig is a real engine with the test's images and network on it.
type rig struct {
	*testing.T
	pool *Pool
	net  fleet.Network
}

func newRig(t *testing.T) *rig {
	t.Helper()
	p := New(testFleet, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(func() { p.Close() })
	if err := p.Add(fleet.Node{Name: testNode, Endpoint: os.Getenv("DOCKER_HOST")}); err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, pool: p}
	r.image(sandboxImage, "sandbox")
	r.image(appImage, "app")
	r.net = r.network()
	return r
}

func (r *rig) image(ref, binary string) {
	r.Helper()
	_, err := r.pool.Images().Ensure(r.Context(), testNode, ref, fleet.PullNever)
	if err == nil {
		return
	}
	if _, err = r.pool.Images().Import(r.Context(), testNode, ref, rootfs(binary), []string{"/" + binary}); err != nil {
		r.Fatal(err)
	}
}

// rootfs is the archive of a root file system with nothing but the program.
func rootfs(binary string) io.Reader {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	w.WriteHeader(&tar.Header{Name: binary, Mode: 0o755, Size: int64(len(binaries[binary]))})
	w.Write(binaries[binary])
	w.Close()
	return &archive
}

// network makes the test's network, in the first range that is free.
func (r *rig) network() fleet.Network {
	r.Helper()
	if found, err := r.pool.Networks().Find(r.Context(), testNode, testNetwork); err == nil {
		return found
	}
	for third := range 200 {
		subnet := netip.MustParsePrefix(fmt.Sprintf("10.213.%d.0/24", third))
		strangers := netip.MustParsePrefix(fmt.Sprintf("10.213.%d.128/25", third))
		made, err := r.pool.Networks().Create(r.Context(), testNode, fleet.NetworkConfig{Name: testNetwork, Driver: "bridge", Subnet: subnet, IPRange: strangers})
		if err == nil {
			return made
		}
		if fieldOf(err) != "subnet" {
			r.Fatal(err)
		}
	}
	r.Fatal("no subnet is free")
	return fleet.Network{}
}

// address is the n-th of the part for fixed addresses.
func (r *rig) address(n int) netip.Addr {
	a := r.net.Subnet.Addr().As4()
	a[3] = byte(n)
	return netip.AddrFrom4(a)
}

// create makes a container that is removed after the test.
func (r *rig) create(c fleet.ContainerConfig) string {
	r.Helper()
	id, err := r.pool.Containers().Create(r.Context(), testNode, c)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { r.pool.Containers().Remove(context.Background(), testNode, id) })
	return id
}

// sandbox makes and starts the sandbox of a replica.
func (r *rig) sandbox(name string, n int) string {
	r.Helper()
	id := r.create(fleet.ContainerConfig{
		Name: name + ".net", Image: sandboxImage, Hostname: name, Restart: "no",
		Labels:   map[string]string{fleet.LabelRole: string(fleet.RoleSandbox), fleet.LabelService: name},
		Networks: []fleet.Attachment{{Network: testNetwork, Address: r.address(n), Aliases: []string{name}}},
	})
	r.start(id)
	return id
}

// app makes the app of a replica; it is not started.
func (r *rig) app(name, sandbox string, env map[string]fleet.Secret) string {
	r.Helper()
	if env == nil {
		env = map[string]fleet.Secret{"IDLE": "0"}
	}
	return r.create(fleet.ContainerConfig{
		Name: name, Image: appImage, SandboxID: sandbox, Env: env, Restart: "no", MemoryMB: 64,
		Labels: map[string]string{fleet.LabelRole: string(fleet.RoleApp), fleet.LabelService: name},
	})
}

func (r *rig) start(id string) {
	r.Helper()
	if err := r.pool.Containers().Start(r.Context(), testNode, id); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) stop(id string) {
	r.Helper()
	if err := r.pool.Containers().Stop(r.Context(), testNode, id, time.Second); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) inspect(id string) fleet.Container {
	r.Helper()
	c, err := r.pool.Containers().Inspect(r.Context(), testNode, id)
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// want fails the test unless err has the kind and the field.
func (r *rig) want(what string, err error, kind fleet.Kind, field string) {
	r.Helper()
	var seen *fleet.Error
	if !errors.As(err, &seen) || seen.Kind != kind || seen.Field != field {
		r.Errorf("%s: got %v (%s), want kind %s and field %q", what, err, fleet.KindOf(err), kind, field)
		return
	}
	r.Logf("%s: %v", what, err)
}

// answers waits until the app answers at the address, and says how long that took.
func (r *rig) answers(at netip.Addr) time.Duration {
	r.Helper()
	began := time.Now()
	client := http.Client{Timeout: time.Second}
	for time.Since(began) < 10*time.Second {
		response, err := client.Get("http://" + netip.AddrPortFrom(at, 9000).String() + "/status")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return time.Since(began)
			}
		}
		pauseFor(r.Context(), time.Millisecond)
	}
	r.Fatalf("nothing answers at %s", at)
	return 0
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
