package stand

import (
	"fmt"
	"strings"
	"time"

	"edgespawner/fleet"
)

// AppOf returns the id of the container of a service's app, by its index.
func (s *Stand) AppOf(service string, index int) string {
	s.t.Helper()
	return s.container(service, index, fleet.RoleApp)
}

// SandboxOf returns the id of the container that keeps a replica's network.
func (s *Stand) SandboxOf(service string, index int) string {
	s.t.Helper()
	return s.container(service, index, fleet.RoleSandbox)
}

func (s *Stand) container(service string, index int, role fleet.Role) string {
	s.t.Helper()
	args := []string{"ps", "-aq", "--no-trunc"}
	for label, value := range map[string]string{
		fleet.LabelFleet: s.FleetID, fleet.LabelService: service, fleet.LabelIndex: fmt.Sprint(index), fleet.LabelRole: string(role),
	} {
		args = append(args, "--filter", "label="+label+"="+value)
	}
	ids := strings.Fields(Docker(s.t, args...))
	if len(ids) != 1 {
		s.t.Fatalf("%s has %d containers of role %s, want 1", fleet.ReplicaName(service, index), len(ids), role)
	}
	return ids[0]
}

// StateOf returns Docker's word for the state of a container.
func StateOf(t T, id string) string {
	t.Helper()
	return Inspect(t, id, "{{.State.Status}}")
}

// StartedAt returns when a container was started last.
func StartedAt(t T, id string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, Inspect(t, id, "{{.State.StartedAt}}"))
	must(t, err, "read when %s was started", id)
	return at
}

// Starts counts how often the mock-app of a container has begun to listen.
func Starts(t T, id string) int {
	t.Helper()
	return strings.Count(Docker(t, "logs", id), "msg=Listening")
}
