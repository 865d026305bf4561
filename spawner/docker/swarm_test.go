package docker

import (
	"strings"
	"testing"

	"edgespawner/fleet"
)

func TestAnEngineThatHasNotFoundItsSwarmSaysSoInsteadOfThatThereIsNoNetwork(t *testing.T) {
	for name, row := range map[string]struct {
		swarm map[string]any
		waits string // a part of what it says; empty = its swarm works
		in    bool
	}{
		"in no swarm":                     {map[string]any{"LocalNodeState": "inactive"}, "", false},
		"a worker that has found it":      {map[string]any{"NodeID": "s1", "LocalNodeState": "active"}, "", true},
		"a manager":                       {map[string]any{"NodeID": "s1", "LocalNodeState": "active", "ControlAvailable": true}, "", true},
		"started anew":                    {map[string]any{"NodeID": "s1", "LocalNodeState": "pending"}, "has not found its swarm's managers", true},
		"started anew, a manager":         {map[string]any{"NodeID": "s1", "LocalNodeState": "pending", "ControlAvailable": true, "Error": "rpc error: no leader"}, "managers: rpc error: no leader", true},
		"a manager of one without leader": {map[string]any{"NodeID": "s1", "LocalNodeState": "active", "ControlAvailable": true, "Error": "rpc error: no leader"}, "does not work: rpc error: no leader", true},
		"locked":                          {map[string]any{"NodeID": "s1", "LocalNodeState": "locked"}, "docker swarm unlock", true},
		"whose certificate is not good":   {map[string]any{"NodeID": "s1", "LocalNodeState": "error", "Error": "certificate has expired"}, "no more: certificate has expired", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeEngine(t)
			f.on("GET /info", 200, map[string]any{"ID": "E1", "Swarm": row.swarm})
			f.on("GET /networks/shared", 404, "network shared not found")
			told, err := f.pool(t).Info(t.Context(), "local")
			if err != nil || (told.Swarm != nil) != row.in {
				t.Fatalf("got %+v, %v", told, err)
			}
			kind, field := fleet.NotFound, ""
			if row.waits != "" {
				kind, field = fleet.Unavailable, "networks"
			}
			if row.in && (!strings.Contains(told.Swarm.Waits, row.waits) || (told.Swarm.Waits == "") != (row.waits == "")) {
				t.Errorf("it waits for %q, want %q", told.Swarm.Waits, row.waits)
			}
			_, err = f.pool(t).Networks().Find(t.Context(), "local", "shared")
			wantError(t, err, kind, field, row.waits)
		})
	}
}
