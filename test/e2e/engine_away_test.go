//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/lab"
	"edgespawner/test/stand"
)

// lives are the fleet's containers of a service on a node, each with the moment its life began.
func lives(t *testing.T, s *stand.Stand, node *lab.Node, service string) map[string]string {
	t.Helper()
	list := strings.Fields(dockerOn(t, node, "ps", "-aq", "--no-trunc", "--filter", "label="+fleet.LabelFleet+"="+s.FleetID, "--filter", "label="+fleet.LabelService+"="+service))
	found := map[string]string{}
	for _, id := range list {
		name, life, _ := strings.Cut(dockerOn(t, node, "inspect", "-f", "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.State.Status}}", id), " ")
		found[name] = life
	}
	return found
}

func wholeOnNode(s *stand.Stand, service string, replicas int) error {
	detail := s.Service(service)
	if detail.Ready() != replicas || detail.Status != fleet.StatusRunning {
		return fmt.Errorf("%s is %s with %d of %d replicas: %s", service, detail.Status, detail.Ready(), replicas, detail.Reason)
	}
	return nil
}

func TestAnEngineThatIsAwayCostsNoRequestAndWhatIsRightIsNotTouched(t *testing.T) {
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: 1, LiveRestore: []string{"node-1"}}))
	node := s.Lab.Nodes[0]
	web := s.MockApp("web", "web.test")
	web.Replicas = 2
	web.HealthCheck.Interval, web.HealthCheck.Timeout, web.HealthCheck.Retries = fleet.Duration(300*time.Millisecond), fleet.Duration(3*time.Second), 2
	s.Deploy(web)
	nap := s.MockApp("nap", "nap.test")
	s.Deploy(nap)
	s.Sleep("nap")
	away := func(what string, meanwhile func()) {
		t.Helper()
		traffic := s.StartLoad(stand.Load{Host: "web.test"})
		s.Break("kill the engine", func(context.Context) error { return node.KillEngine() })
		meanwhile()
		<-time.After(5 * time.Second) // it is away for so long
		s.Break("start the engine", node.StartEngine)
		began := time.Now()
		stand.Eventually(t, 20*time.Second, "web is whole again", func() error { return wholeOnNode(s, "web", 2) })
		t.Logf("%s: whole %v after the engine was back", what, time.Since(began).Round(time.Millisecond))
		traffic.Stop().MustBeCleanButRefused(t)
	}

	before := lives(t, s, node, "web")
	away("nothing happens meanwhile", func() {})
	if after := lives(t, s, node, "web"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the containers are %v now, before %v", after, before)
	}

	id := s.Service("web").Containers[0].ID
	pid, err := strconv.Atoi(dockerOn(t, node, "inspect", "-f", "{{.State.Pid}}", id))
	if err != nil || pid <= 1 {
		t.Fatalf("the app's process is %d, %v", pid, err)
	}
	away("an app dies meanwhile", func() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	})
	if failed := s.Events("web", fleet.EventFailed); len(failed) != 0 {
		t.Errorf("it was given up: %v", failed)
	}
	if status := s.Service("nap").Status; status != fleet.StatusAsleep {
		t.Errorf("the sleeper is %s", status)
	}
	s.Get("nap.test", "/").MustBe(200)
}
