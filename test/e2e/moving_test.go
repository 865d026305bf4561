//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/lab"
	"edgespawner/test/stand"
)

// leftOn fails unless nothing of the fleet's services stands on a node.
func leftOn(t *testing.T, s *stand.Stand, node *lab.Node) {
	t.Helper()
	if left := containersOf(t, s, node); len(left) > 0 {
		t.Errorf("left on %s: %v", node.Name, left)
	}
}

func TestADrainedNodeLosesNoRequestAndASleeperIsMovedAsleep(t *testing.T) {
	s, collector := cluster(t, 2)
	s.Deploy(counted(s, collector, "one", 1))
	s.Deploy(counted(s, collector, "cold", 3))
	s.Sleep("cold")
	web := s.StartLoad(stand.Load{Host: "web.test", Rate: 150, Collector: collector})
	one := s.StartLoad(stand.Load{Host: "one.test", Rate: 50, Edge: s.Edges[1], Collector: collector})
	for _, node := range s.Lab.Nodes[1:] {
		mustRun(t, s, "node", "drain", node.Name)
		leftOn(t, s, node)
		mustRun(t, s, "node", "resume", node.Name)
	}
	web.Stop().MustBeClean(t)
	one.Stop().MustBeClean(t)
	if status := s.Service("cold").Status; status != fleet.StatusAsleep {
		t.Errorf("the sleeper is %s", status)
	}
	s.Get("cold.test", "/").MustBe(200)
	if wakes := s.Wakes("cold"); len(wakes) != 1 {
		t.Errorf("the sleeper was not woken once, by the request: %v", wakes)
	}
}

// reaches says whether a replica answers a request that is sent to its address from
// inside another one. That a connection can be made says nothing: the way out of
// a machine may lead to something that takes all of them.
func reaches(t *testing.T, s *stand.Stand, from, to fleet.ReplicaDetail) bool {
	t.Helper()
	node, err := s.Lab.Node(from.NodeID)
	if err != nil {
		t.Fatal(err)
	}
	namespace := "/proc/" + dockerOn(t, node, "inspect", "-f", "{{.State.Pid}}", from.SandboxID) + "/ns/net"
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		return lab.Dial(namespace, address)
	}}
	client := http.Client{Timeout: 5 * time.Second, Transport: transport}
	answer, err := client.Get("http://" + net.JoinHostPort(to.Address, "9000") + "/")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return err == nil && strings.Contains(string(body), "hostname: "+to.Name)
}

func TestNetworksOfGroupsReachOverEnginesAndAreApartFromEachOther(t *testing.T) {
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: 2, Swarm: true}))
	on := func(name, node, network string) fleet.ReplicaDetail {
		spec := pinned(s, name, node)
		spec.Networks = []string{network}
		s.Deploy(spec)
		return s.Service(name).Detail[0]
	}
	front, db := on("front", "node-1", "inside"), on("db", "node-2", "inside")
	other := on("other", "node-2", "elsewhere")
	mustLeadTo(t, s, front, "db", 1)
	mustLeadTo(t, s, db, "front-0", 1)
	stand.Eventually(t, 30*time.Second, "front and db reach each other over their network", func() error {
		if !reaches(t, s, front, db) || !reaches(t, s, db, front) {
			return fmt.Errorf("front at %s and db at %s do not", front.Address, db.Address)
		}
		return nil
	})
	for _, pair := range [][2]fleet.ReplicaDetail{{front, other}, {other, front}, {other, db}, {db, other}} {
		if reaches(t, s, pair[0], pair[1]) {
			t.Errorf("%s reaches %s at %s although they share no network", pair[0].Name, pair[1].Name, pair[1].Address)
		}
	}
	for _, name := range []string{"front", "db", "other"} {
		s.Get(name+".test", "/").MustBe(200)
	}
}

func TestNodesThatShareNoNetworkAreReachedByPortsThatNothingElseHas(t *testing.T) {
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: 2}), stand.WithFlags("--port-range=24000-24009"))
	far := s.Lab.Nodes[1]
	holder := dockerOn(t, far, "run", "-d", "-p", far.Address()+":24000:1", stand.SandboxImage)
	web := s.MockApp("web", "web.test")
	web.Replicas = 4
	s.Deploy(web)
	if answering := answeringReplicas(s, s.Edges[0]); answering != 4 {
		t.Errorf("%d of 4 replicas answer", answering)
	}
	ports := map[string]bool{}
	for _, name := range strings.Fields(dockerOn(t, far, "ps", "--format", "{{.Names}}", "--filter", "label="+fleet.LabelService+"=web", "--filter", "label="+fleet.LabelRole+"=sandbox")) {
		binding := dockerOn(t, far, "inspect", "-f", `{{range .HostConfig.PortBindings}}{{range .}}{{.HostIp}}:{{.HostPort}}{{end}}{{end}}`, name)
		at, err := netip.ParseAddrPort(binding)
		if err != nil || at.Addr().String() != far.Address() || at.Port() <= 24000 || at.Port() > 24009 || ports[strconv.Itoa(int(at.Port()))] {
			t.Errorf("%s publishes %q: want another port of 24001 to 24009 on %s alone", name, binding, far.Address())
		}
		ports[strconv.Itoa(int(at.Port()))] = true
	}
	if len(ports) != 2 {
		t.Errorf("%d replicas publish on %s, want 2", len(ports), far.Name)
	}
	s.Sleep("web")
	s.Get("web.test", "/").MustBe(200)
	s.Spawner.Restart()
	stand.Eventually(t, 60*time.Second, "all answer after a restart of the spawner", func() error {
		if answering := answeringReplicas(s, s.Edges[0]); answering != 4 {
			return fmt.Errorf("%d of 4", answering)
		}
		return nil
	})
	dockerOn(t, far, "rm", "-f", holder)
}
