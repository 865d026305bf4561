//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

func TestTheScriptsOfTheExamplesRunAsPrinted(t *testing.T) {
	examples := map[string][]string{
		"subdomain-routing": nil,
		"cookie-routing":    {"-use-cookie-routing=true", "-cookie-key=instance", "-cookie-fallback-url=/home"},
		"path-routing":      {"-use-path-routing=true"},
	}
	for example, flags := range examples {
		t.Run(example, func(t *testing.T) {
			s := stand.Start(t, stand.WithFlags(flags...))
			script := func(name, wanted string) {
				t.Helper()
				output := runScript(t, s, example, name)
				if !strings.Contains(output, wanted) {
					t.Fatalf("%s printed no %q:\n%s", name, wanted, output)
				}
			}
			script("create-minions.sh", `"id":`)
			script("test-minions.sh", "connstr: db 2")
			for _, minion := range []string{"minion-1", "minion-2"} {
				s.WaitStatus(minion, 30*time.Second, fleet.StatusAsleep) // mock-app ends by itself
			}
			script("list-minions.sh", `"state":"exited"`)
			script("test-minions.sh", "connstr: db 2")
			script("delete-minons.sh", `"result":"ok"`)
			script("list-minions.sh", `"instances":[]`)
			if left := s.Containers("", "app"); len(left) > 0 {
				t.Errorf("containers are left: %v", left)
			}
		})
	}
}

// runScript runs a script of an example for two instances that end after six idle seconds.
func runScript(t *testing.T, s *stand.Stand, example, name string) string {
	t.Helper()
	command := exec.Command(filepath.Join(stand.Root(t), "examples", example, name), "2")
	command.Env = append(os.Environ(), "SPAWNER_URL="+s.Spawner.APIURL, "SPAWNER_TOKEN="+s.Spawner.AdminToken(),
		"EDGE_URL="+s.Edges[0].URL, "EDGE_TLS_URL="+s.Edges[0].TLSURL, "SPAWNER_NETWORK="+s.Network, "IDLE=6s")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
	return string(output)
}
