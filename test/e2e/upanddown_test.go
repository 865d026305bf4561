//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edgespawner/test/stand"
)

func TestUpAndDownOnACleanClone(t *testing.T) {
	for _, compose := range composes(t) {
		t.Run(compose, func(t *testing.T) {
			c := newClone(t, compose)
			c.build("up")
			c.mustAnswer("/", "demo.localhost")
			if output := c.run("bin/spawner", "ps"); !strings.Contains(output, "demo") || !strings.Contains(output, "running") {
				t.Errorf("ps shows no demo that runs:\n%s", output)
			}
			before := c.containers()
			c.build("up")
			if after := c.containers(); after != before {
				t.Errorf("a second up has changed something:\n%s\nbefore:\n%s", after, before)
			}

			c.run("bin/spawner", "sleep", "demo")
			c.build("up")
			if output := c.run("bin/spawner", "ps"); !strings.Contains(output, "asleep") {
				t.Errorf("up has woken the demo:\n%s", output)
			}
			c.mustAnswer("/", "demo.localhost")
			c.run("bash", "-c", `. ./.spawner/env && curl -fsS -H "Authorization: Bearer $SPAWNER_TOKEN" "$SPAWNER_URL/api/services"`)
			c.mustKeepServicesFromTheAPI()

			c.build("down")
			if left := c.containers() + c.list("network", "ls", c.fleetID()); left != "" {
				t.Errorf("down has left:\n%s", left)
			}
			c.build("up")
			c.mustAnswer("/", "demo.localhost")

			fleetID := c.fleetID() // down --volumes forgets it
			c.mustLeaveAlone()
			stand.Docker(t, "kill", strings.TrimSpace(c.build("compose", "ps", "-q", "spawner"))) // it cannot clean up
			if err := os.RemoveAll(filepath.Join(c.dir, ".spawner")); err != nil {                // as git clean does
				t.Fatal(err)
			}
			c.build("down", "--volumes")
			if left := c.containersOf(fleetID) + c.list("network", "ls", fleetID) + c.list("volume", "ls", fleetID); left != "" {
				t.Errorf("down --volumes has left:\n%s", left)
			}
			if _, err := os.Stat(filepath.Join(c.dir, ".spawner")); !os.IsNotExist(err) {
				t.Errorf("down --volumes has left .spawner: %v", err)
			}
		})
	}
}

// composes returns the implementations of compose that are on this machine.
func composes(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, compose := range []string{"docker compose", "docker-compose"} {
		words := append(strings.Fields(compose), "version")
		if exec.Command(words[0], words[1:]...).Run() == nil {
			found = append(found, compose)
		}
	}
	if len(found) == 0 {
		t.Fatal("neither docker compose nor docker-compose is installed")
	}
	return found
}

// clone is a copy of the repository as git would give it to a newcomer.
type clone struct {
	t       *testing.T
	dir     string
	env     []string
	project string
	port    int
	api     int
}

func newClone(t *testing.T, compose string) *clone {
	t.Helper()
	c := &clone{t: t, dir: t.TempDir(), port: stand.FreePort(t), api: stand.FreePort(t)}
	c.project = fmt.Sprintf("e2eup%d", c.port)
	c.copySources()
	c.env = append(os.Environ(), "SPAWNER_COMPOSE="+compose, "SPAWNER_PROJECT="+c.project, "SPAWNER_NETWORK="+c.project,
		fmt.Sprintf("SPAWNER_HTTP_PORT=%d", c.port), fmt.Sprintf("SPAWNER_HTTPS_PORT=%d", stand.FreePort(t)),
		fmt.Sprintf("SPAWNER_API_PORT=%d", c.api))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs:\n%s", c.try("./build_project.sh", "compose", "logs", "--tail", "60", "spawner"))
		}
		c.try("./build_project.sh", "down", "--volumes")
	})
	return c
}

// copySources copies what git knows of, or would.
func (c *clone) copySources() {
	c.t.Helper()
	copyFiles := exec.Command("bash", "-c", `git -C "$0" ls-files -co --exclude-standard -z | tar -C "$0" --null -T - --ignore-failed-read -c | tar -x -C "$1"`, stand.Root(c.t), c.dir)
	if output, err := copyFiles.CombinedOutput(); err != nil {
		c.t.Fatalf("cannot copy the repository: %v\n%s", err, output)
	}
}

// mustLeaveAlone lets another folder with the same names do its worst.
func (c *clone) mustLeaveAlone() {
	c.t.Helper()
	other := *c
	other.dir = c.t.TempDir()
	other.copySources()
	before := c.containers()
	for _, verb := range []string{"up", "down"} {
		output := other.try("./build_project.sh", verb)
		if !strings.Contains(output, c.dir) && !strings.Contains(output, "nothing is up") {
			c.t.Errorf("%s of another folder does not say whose the name is:\n%s", verb, output)
		}
	}
	if after := c.containers(); after != before {
		c.t.Errorf("another folder has changed something:\n%s\nbefore:\n%s", after, before)
	}
}

// build runs build_project.sh.
func (c *clone) build(args ...string) string {
	c.t.Helper()
	return c.run("./build_project.sh", args...)
}

// run runs a program in the clone; its settings come from .spawner after the first up.
func (c *clone) run(program string, args ...string) string {
	c.t.Helper()
	output, err := c.command(program, args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// try runs a program and returns what it said, however it ended.
func (c *clone) try(program string, args ...string) string {
	output, err := c.command(program, args...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v\n%s", err, output)
	}
	return string(output)
}

func (c *clone) command(program string, args ...string) *exec.Cmd {
	command := exec.Command(program, args...)
	command.Dir, command.Env = c.dir, c.env
	if strings.Contains(program, "/") {
		command.Path = filepath.Join(c.dir, program)
	}
	return command
}

// containers lists those of the installation: compose's and the spawner's, the lease among them.
func (c *clone) containers() string {
	c.t.Helper()
	return c.containersOf(c.fleetID())
}

func (c *clone) containersOf(fleetID string) string {
	c.t.Helper()
	format := "{{.ID}} {{.Names}} {{.State}}\n"
	own := stand.Docker(c.t, "ps", "-a", "--filter", "label=com.docker.compose.project="+c.project, "--format", format)
	return own + stand.Docker(c.t, "ps", "-a", "--filter", "label=spawner.fleet="+fleetID, "--filter", "label=origin=spawner", "--format", format)
}

// list lists networks or volumes of the installation.
func (c *clone) list(kind, verb, fleetID string) string {
	c.t.Helper()
	own := stand.Docker(c.t, kind, verb, "-q", "--filter", "label=com.docker.compose.project="+c.project)
	return own + stand.Docker(c.t, kind, verb, "-q", "--filter", "label=spawner.fleet="+fleetID)
}

// fleetID returns the id that up has made.
func (c *clone) fleetID() string {
	c.t.Helper()
	settings, err := os.ReadFile(filepath.Join(c.dir, ".spawner", "compose.env"))
	if err != nil {
		c.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(settings), "SPAWNER_FLEET=")
	id, _, _ := strings.Cut(after, "\n")
	return id
}

// mustAnswer asks the edge for a host's path.
func (c *clone) mustAnswer(path, host string) {
	c.t.Helper()
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", c.port, path), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatalf("%s%s does not answer: %v", host, path, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		c.t.Fatalf("%s%s answers %s", host, path, response.Status)
	}
}

// mustKeepServicesFromTheAPI tries to reach the private API from a container on
// the network that services share, at every address that might lead there.
func (c *clone) mustKeepServicesFromTheAPI() {
	c.t.Helper()
	spawner := strings.TrimSpace(c.run("./build_project.sh", "compose", "ps", "-q", "spawner"))
	addresses := strings.Fields(stand.Inspect(c.t, spawner, "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}} {{end}}"))
	if len(addresses) < 4 {
		c.t.Fatalf("the spawner has the addresses %v, want those of two networks and their gateways", addresses)
	}
	for _, address := range addresses {
		for _, port := range []int{8008, c.api} {
			url := fmt.Sprintf("http://%s:%d/healthz", address, port)
			if stand.Reachable(c.t, c.project, url) {
				c.t.Errorf("a container of a service reaches %s", url)
			}
		}
	}
	if url := fmt.Sprintf("http://%s:8000/", "spawner"); !stand.Reachable(c.t, c.project, url) {
		c.t.Errorf("a container of a service does not reach %s, so the checks above prove nothing", url)
	}
}
