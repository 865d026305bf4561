package stand

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
)

// appPort is where mock-app listens.
const appPort = 9000

// MockApp returns the spec of a mock-app that never ends by itself, checks
// /status, and is reached by the hosts (none = by no route).
func (s *Stand) MockApp(name string, hosts ...string) fleet.Spec {
	spec := fleet.DefaultSpec()
	spec.Name = name
	spec.Image = MockAppImage
	spec.Env = map[string]fleet.Secret{"IDLE": "0"}
	spec.HealthCheck = &fleet.HealthCheck{
		Type: fleet.CheckHTTP, Endpoint: "http://localhost:9000/status",
		Interval: fleet.Duration(time.Second), Timeout: fleet.Duration(3 * time.Second), Retries: 3,
	}
	spec.StopGrace = fleet.Duration(5 * time.Second)
	spec.Route = &fleet.Route{Hosts: hosts, Port: appPort}
	if len(hosts) == 0 {
		spec.Route = nil
	}
	return spec
}

// variants remembers the images that this process has made.
var variants = struct {
	mu   sync.Mutex
	made map[string]bool // guarded by mu; by tag
}{made: map[string]bool{}}

// MockAppVariant returns an image that is mock-app with more lines of a
// Dockerfile, such as `HEALTHCHECK --interval=30s CMD ["/mock-app", "health"]`
// or `ENV VERSION=2`. It is made once, under a tag that is this process's own;
// RemoveVariants takes all away.
func MockAppVariant(t T, name string, lines ...string) string {
	t.Helper()
	variants.mu.Lock()
	defer variants.mu.Unlock()
	tag := fmt.Sprintf("mock-app:%s-%d", name, os.Getpid())
	if variants.made[tag] {
		return tag
	}
	Root(t)
	dir, err := os.MkdirTemp("", "mock-app-")
	must(t, err, "make a folder")
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "Dockerfile")
	text := "FROM " + MockAppImage + "\n" + strings.Join(lines, "\n") + "\n"
	must(t, os.WriteFile(file, []byte(text), 0o600), "write a Dockerfile")
	output, err := exec.Command("docker", "build", "-q", "-t", tag, dir).CombinedOutput()
	must(t, err, "build %s: %s", tag, output)
	variants.made[tag] = true
	return tag
}

// RemoveVariants removes the images that MockAppVariant has made.
func RemoveVariants() error {
	variants.mu.Lock()
	defer variants.mu.Unlock()
	for tag := range variants.made {
		if _, err := docker("rmi", "-f", tag); err != nil {
			return err
		}
		delete(variants.made, tag)
	}
	return nil
}
