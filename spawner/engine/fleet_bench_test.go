package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// crowd is a world of n nodes on which services of ten replicas run already, spread over them.
func crowd(b *testing.B, n, services int) *world {
	b.Helper()
	w := newWorld(b)
	w.docker.node.Name = "node-0"
	for i := range n - 1 {
		w.cluster.add(fmt.Sprintf("node-%d", i+1))
	}
	address := netip.MustParseAddr("10.64.0.0")
	for i := range services {
		spec := w.spec(fmt.Sprintf("s%d", i), "app:1", 10)
		described, err := json.Marshal(spec)
		if err != nil {
			b.Fatal(err)
		}
		for index := range 10 {
			address = address.Next()
			w.cluster.nodes[(10*i+index)%n].found(spec.Name, index, string(described), address)
		}
	}
	w.start()
	b.Cleanup(w.end)
	return w
}

// found puts the two running containers of a replica on a node, as if a spawner before had made them.
func (d *fakeDocker) found(service string, index int, spec string, address netip.Addr) {
	labels := map[string]string{
		fleet.LabelFleet: fakeFleet, fleet.LabelService: service, fleet.LabelIndex: strconv.Itoa(index), fleet.LabelRevision: "1",
		fleet.LabelRole: string(fleet.RoleSandbox), fleet.LabelSpecHash: "h",
	}
	name := fleet.ReplicaName(service, index)
	began := time.Now().Add(-time.Hour)
	sandbox := &box{
		node: d, id: "s-" + name, name: name + ".net", status: fleet.ContainerRunning, life: 1, startedAt: began, conns: map[*fakeConn]bool{},
		ended: make(chan struct{}), config: fleet.ContainerConfig{Name: name + ".net", Image: "sandbox:1", Labels: labels, Restart: "always",
			Networks: []fleet.Attachment{{Network: "traefiknet", Address: address}}},
	}
	own := maps.Clone(labels)
	own[fleet.LabelRole], own[fleet.LabelSpec] = string(fleet.RoleApp), spec
	app := &box{
		node: d, id: "a-" + name, name: name, status: fleet.ContainerRunning, life: 1, startedAt: began.Add(time.Second), conns: map[*fakeConn]bool{},
		ended: make(chan struct{}), joined: sandbox, joinedLife: 1,
		config: fleet.ContainerConfig{Name: name, Image: "app:1", Labels: own, SandboxID: sandbox.id},
	}
	d.boxes[sandbox.id], d.boxes[app.id] = sandbox, app
}

func BenchmarkMemoryOfAThousandNodes(b *testing.B) {
	for n, services := range map[int]int{10: 10, 1000: 100} {
		b.Run(fmt.Sprintf("%d nodes, %d replicas", n, 10*services), func(b *testing.B) {
			runtime.GC()
			debug.FreeOSMemory()
			before := residentMB(b)
			w := crowd(b, n, services)
			runtime.GC()
			debug.FreeOSMemory()
			resident := residentMB(b) - before
			for b.Loop() {
				if _, err := w.engine().Nodes(w.ctx); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(resident, "MB-RSS")
			b.ReportMetric(float64(len(w.engine().Services())), "services")
		})
	}
}

// BenchmarkNodeEvents measures what a spawner of a thousand nodes takes for what
// happens on them: a word on a container, and a node that falls silent and is back.
func BenchmarkNodeEvents(b *testing.B) {
	w := crowd(b, 1000, 100)
	e := w.engine()
	b.Run("container", func(b *testing.B) {
		i := 0
		for b.Loop() {
			service := fmt.Sprintf("s%d", i%100)
			e.containerNotice(fleet.Notice{
				Node: fmt.Sprintf("node-%d", i%100*10), Action: fleet.NoticeUnpaused, Time: time.Now(), ID: "a-" + service + "-0",
				Labels: map[string]string{fleet.LabelService: service},
			})
			i++
		}
		if _, err := e.Service("s0"); err != nil { // its actor has taken all of them
			b.Fatal(err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("silent and back", func(b *testing.B) {
		members := e.members.list()
		i := 0
		for b.Loop() {
			m := members[i%len(members)]
			e.lost(m, context.DeadlineExceeded)
			e.connected(w.ctx, m)
			i++
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// residentMB is the memory of this process.
func residentMB(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kB) / 1024
}
