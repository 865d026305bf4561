package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"edgespawner/fleet"
)

// datacentre is n nodes of four sizes in four zones, and replicas of all kinds
// on them, per on each.
func datacentre(n, per int) Picture {
	random := rand.New(rand.NewPCG(1, 2))
	var p Picture
	for i := range n {
		cpus := 8 << random.IntN(4)
		p.Nodes = append(p.Nodes, Node{
			Name: fmt.Sprintf("node-%d", i), CPUShares: cpus * 1024, MemoryMB: cpus * 4096, Platform: "linux/amd64",
			Labels: map[string]string{"zone": fmt.Sprint("zone-", i%4), "disk": []string{"ssd", "hdd"}[i%2]},
		})
	}
	for s := range n * per / 10 {
		service := Service{Demand: Demand{Service: fmt.Sprint("other-", s), CPUShares: 64 << random.IntN(4), MemoryMB: 64 << random.IntN(5)}}
		for r := range 10 {
			service.Replicas = append(service.Replicas, Replica{Index: r, Node: p.Nodes[random.IntN(n)].Name})
		}
		p.Services = append(p.Services, service)
	}
	return p
}

// demands are what a benchmark places.
var demands = map[string]Demand{
	"plain": {Service: "web", CPUShares: 256, MemoryMB: 256},
	"full": {Service: "web", CPUShares: 256, MemoryMB: 256, Image: "web:1", Platforms: []string{"linux/amd64"},
		Ports: []fleet.Port{{ContainerPort: 80, HostPort: 8080}},
		Placement: fleet.Placement{
			Constraints: []fleet.Constraint{"zone!=zone-3"}, Prefer: []fleet.Constraint{"disk==ssd"}, Strategy: fleet.StrategyBinpack,
			Spread: []fleet.Spread{{Over: "zone", Required: true}, {Over: "node"}},
		}},
}

// BenchmarkPlaceOne is one decision among so many nodes, and what it holds given back.
func BenchmarkPlaceOne(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 6100} {
		c := New(datacentre(n, 10))
		for _, kind := range []string{"plain", "full"} {
			b.Run(fmt.Sprintf("%s/nodes=%d", kind, n), func(b *testing.B) {
				d := demands[kind]
				b.ReportAllocs()
				for b.Loop() {
					node, err := c.Place(d)
					if err != nil {
						b.Fatal(err)
					}
					c.Release(node, d)
				}
			})
		}
	}
}

// BenchmarkPicture makes a cluster of a picture with ten replicas on each node.
func BenchmarkPicture(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 6100} {
		p := datacentre(n, 10)
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				New(p)
			}
		})
	}
}

// BenchmarkTwoMillion places 2,000,000 replicas on 6,100 nodes: 2,000 services
// of 1,000 replicas, every fourth of them spread over the zones and every
// fourth packed. One operation is all of it.
func BenchmarkTwoMillion(b *testing.B) {
	const services, replicas, nodes = 2000, 1000, 6100
	for b.Loop() {
		p := Picture{}
		for i := range nodes {
			p.Nodes = append(p.Nodes, Node{
				Name: fmt.Sprintf("node-%d", i), CPUShares: 64 * 1024, MemoryMB: 256 * 1024,
				Labels: map[string]string{"zone": fmt.Sprint("zone-", i%4)},
			})
		}
		c := New(p)
		for s := range services {
			d := Demand{Service: fmt.Sprint("service-", s), CPUShares: 64 << (s % 3), MemoryMB: 128 << (s % 3)}
			switch s % 4 {
			case 1:
				d.Placement.Spread = []fleet.Spread{{Over: "zone", Required: true}}
			case 3:
				d.Placement.Strategy = fleet.StrategyBinpack
			}
			if placed, err := c.PlaceAll(d, replicas); err != nil {
				b.Fatalf("%s: %d placed: %v", d.Service, len(placed), err)
			}
		}
	}
	b.ReportMetric(services*replicas, "replicas/op")
}

// BenchmarkRebalance plans ten moves among ten replicas on each node.
func BenchmarkRebalance(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		p := datacentre(n, 10)
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			for b.Loop() {
				if moves := Rebalance(p, 10); len(moves) == 0 {
					b.Fatal("a drawn cluster is balanced")
				}
			}
		})
	}
}
