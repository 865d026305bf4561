package stand

import (
	"fmt"
	"os/exec"
	"strings"
)

// Docker runs the docker command and returns what it printed, without the line
// break at the end; it fails the test when the command does.
func Docker(t T, args ...string) string {
	t.Helper()
	output, err := docker(args...)
	must(t, err, "run docker %s", strings.Join(args, " "))
	return output
}

// TryDocker is Docker for a command that may fail.
func TryDocker(args ...string) (string, error) { return docker(args...) }

func docker(args ...string) (string, error) {
	output, err := exec.Command("docker", args...).CombinedOutput()
	text := strings.TrimRight(string(output), "\n")
	if err != nil {
		return text, fmt.Errorf("%w: %s", err, text)
	}
	return text, nil
}

// removeFleet takes away every container, network and volume that carries the
// fleet's label, and the network of that name.
func removeFleet(t T, fleetID, network string) {
	label := "label=spawner.fleet=" + fleetID
	remove := func(list, rm []string) {
		ids, err := docker(list...)
		if err != nil {
			t.Logf("cannot list what to remove: %v", err)
			return
		}
		if ids == "" {
			return
		}
		if _, err := docker(append(rm, strings.Fields(ids)...)...); err != nil {
			t.Logf("cannot remove: %v", err)
		}
	}
	remove([]string{"ps", "-aq", "--filter", label}, []string{"rm", "-f", "-v"})
	remove([]string{"network", "ls", "-q", "--filter", label}, []string{"network", "rm"})
	remove([]string{"network", "ls", "-q", "--filter", "name=^" + network + "$"}, []string{"network", "rm"})
	remove([]string{"volume", "ls", "-q", "--filter", label}, []string{"volume", "rm"})
}

// Containers returns the ids of the fleet's containers with that role
// ("sandbox", "app"; empty = all) of a service (empty = all), running or not.
func (s *Stand) Containers(service, role string) []string {
	s.t.Helper()
	args := []string{"ps", "-aq", "--no-trunc", "--filter", "label=spawner.fleet=" + s.FleetID}
	if service != "" {
		args = append(args, "--filter", "label=spawner.service="+service)
	}
	if role != "" {
		args = append(args, "--filter", "label=spawner.role="+role)
	}
	if s.Lab != nil {
		return s.onNodes(args...)
	}
	return strings.Fields(Docker(s.t, args...))
}

// App returns the id of the app container of a service's only replica.
func (s *Stand) App(service string) string {
	s.t.Helper()
	apps := s.Containers(service, "app")
	if len(apps) != 1 {
		s.t.Fatalf("service %s has %d app containers, want 1: %v", service, len(apps), apps)
	}
	return apps[0]
}

// Inspect returns a field of a container by a template such as {{.State.Status}}.
func Inspect(t T, container, template string) string {
	t.Helper()
	return Docker(t, "inspect", "--format", template, container)
}

// Listing is what "changes nothing" compares: every container of the fleet with
// its state, name and creation time.
func (s *Stand) Listing() string {
	s.t.Helper()
	return Docker(s.t, "ps", "-a", "--no-trunc", "--filter", "label=spawner.fleet="+s.FleetID,
		"--format", "{{.ID}} {{.Names}} {{.State}} {{.CreatedAt}}")
}
