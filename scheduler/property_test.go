package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"edgespawner/fleet"
)

func drawNode(t *rapid.T, name string) Node {
	n := Node{Name: name, Labels: map[string]string{}}
	for _, key := range []string{"zone", "disk"} {
		if value := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, key); value != "" {
			n.Labels[key] = value
		}
	}
	n.Platform = rapid.SampledFrom([]string{"", "linux/amd64", "linux/amd64", "linux/arm64"}).Draw(t, "platform")
	n.CPUShares = 1024 * rapid.IntRange(0, 8).Draw(t, "cpu")
	n.MemoryMB = 512 * rapid.IntRange(0, 16).Draw(t, "memory")
	n.Closed = rapid.SampledFrom([]string{"", "", "", "", "draining", "down"}).Draw(t, "closed")
	n.Images = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"one", "two"}), 0, 2, rapid.ID).Draw(t, "images")
	n.Volumes = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"data", "models"}), 0, 1, rapid.ID).Draw(t, "volumes")
	if rapid.IntRange(0, 5).Draw(t, "port is taken") == 0 {
		n.Ports = []fleet.HeldPort{{Port: fleet.Port{HostPort: 80}, Holder: "a process of the host"}}
	}
	return n
}

func drawDemand(t *rapid.T, service string) Demand {
	some := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	label := rapid.SampledFrom([]string{"zone", "disk", "node"})
	d := Demand{Service: service, Image: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "image")}
	d.CPUShares = 512 * rapid.IntRange(0, 4).Draw(t, "cpu")
	d.MemoryMB = 256 * rapid.IntRange(0, 6).Draw(t, "memory")
	constraints := rapid.SliceOfN(rapid.SampledFrom([]fleet.Constraint{"zone==a", "zone!=b", "disk!=a", "node!=node-1", "zone==mars"}), 1, 2)
	if some("constrained") {
		d.Placement.Constraints = constraints.Draw(t, "constraints")
	}
	if some("prefers") {
		d.Placement.Prefer = constraints.Draw(t, "prefer")
	}
	if some("apart") {
		d.Placement.AntiAffinity = label.Draw(t, "anti-affinity")
	}
	if some("spread") {
		for _, over := range rapid.SliceOfNDistinct(label, 1, 2, rapid.ID).Draw(t, "over") {
			d.Placement.Spread = append(d.Placement.Spread, fleet.Spread{Over: over, Required: rapid.Bool().Draw(t, "required"), MaxSkew: rapid.IntRange(0, 2).Draw(t, "skew")})
		}
	}
	if some("packs") {
		d.Placement.Strategy = fleet.StrategyBinpack
	}
	if some("volumes") {
		d.Volumes = []fleet.Volume{{Name: rapid.SampledFrom([]string{"data", "models", "new"}).Draw(t, "volume"), Path: "/x", ReadOnly: rapid.Bool().Draw(t, "read only")}}
	}
	if some("ports") {
		d.Ports = []fleet.Port{{ContainerPort: 80, HostPort: rapid.IntRange(80, 81).Draw(t, "host port"), Protocol: rapid.SampledFrom([]string{"", "tcp", "udp"}).Draw(t, "protocol")}}
	}
	if some("platforms") {
		d.Platforms = []string{rapid.SampledFrom([]string{"linux/amd64", "linux/arm64"}).Draw(t, "made for")}
	}
	return d
}

// drawPicture draws nodes, and services whose replicas stand where they were placed.
func drawPicture(t *rapid.T) Picture {
	var p Picture
	for i := range rapid.IntRange(0, 9).Draw(t, "nodes") {
		p.Nodes = append(p.Nodes, drawNode(t, fmt.Sprintf("node-%d", i)))
	}
	for _, name := range []string{"web", "api", "db"} {
		s := Service{Demand: drawDemand(t, name)}
		nodes, _ := New(p).PlaceAll(s.Demand, rapid.IntRange(0, 4).Draw(t, "replicas"))
		for i, node := range nodes {
			s.Replicas = append(s.Replicas, Replica{Index: i, Node: node})
		}
		p.Services = append(p.Services, s)
	}
	return p
}

func shuffled(t *rapid.T, p Picture) Picture {
	return Picture{Nodes: rapid.Permutation(p.Nodes).Draw(t, "order of nodes"), Services: rapid.Permutation(p.Services).Draw(t, "order of services")}
}

func TestEveryChoiceIsAllowedAndTheBestOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPicture(t)
		d := drawDemand(t, rapid.SampledFrom([]string{"web", "new"}).Draw(t, "service"))
		if stands := p.Services[0].Replicas; d.Service == "web" && len(stands) > 0 && rapid.Bool().Draw(t, "replaces") {
			d.Replaces = stands[0].Node
		}
		o := &oracle{p.Nodes, p.Services}
		c := New(p)
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			node, err := c.Place(d)
			if err != nil {
				checkExplained(t, o, &d, err)
				return
			}
			chosen := o.node(node)
			if !o.fits(&d, chosen) {
				t.Fatalf("%+v does not fit on %+v", d, chosen)
			}
			for i := range o.nodes {
				if other := &o.nodes[i]; o.fits(&d, other) && better(o.worth(&d, other), o.worth(&d, chosen)) {
					t.Fatalf("%s (%v) was chosen, and %s is better (%v) for %+v", node, o.worth(&d, chosen), other.Name, o.worth(&d, other), d)
				}
			}
			o.put(d, node)
		}
	})
}

func checkExplained(t *rapid.T, o *oracle, d *Demand, err error) {
	var why *Unplaceable
	if !errors.As(err, &why) {
		t.Fatalf("refused with %v", err)
	}
	covered := 0
	for i, reason := range why.Reasons {
		covered += reason.Nodes
		if reason.Text == "" || i > 0 && reason.Nodes > why.Reasons[i-1].Nodes {
			t.Errorf("%v: not the most frequent first, or without words", err)
		}
	}
	if covered != len(o.nodes) {
		t.Errorf("%q covers %d of %d nodes", err, covered, len(o.nodes))
	}
	for i := range o.nodes {
		if o.fits(d, &o.nodes[i]) {
			t.Errorf("%q, and yet %s takes %+v", err, o.nodes[i].Name, d)
		}
	}
}

func TestNoNodeIsEverOverbooked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPicture(t)
		o := &oracle{p.Nodes, p.Services}
		c := New(p)
		for range rapid.IntRange(1, 6).Draw(t, "services") {
			d := drawDemand(t, rapid.SampledFrom([]string{"web", "api", "x", "y"}).Draw(t, "service"))
			nodes, _ := c.PlaceAll(d, rapid.IntRange(0, 12).Draw(t, "replicas"))
			for _, node := range nodes {
				o.put(d, node)
			}
		}
		for i := range p.Nodes {
			n := &p.Nodes[i]
			cpu, memory, _ := o.used(n.Name)
			if n.CPUShares > 0 && cpu > n.CPUShares || n.MemoryMB > 0 && memory > n.MemoryMB {
				t.Errorf("%s has %d shares and %d MB, and %d and %d are reserved", n.Name, n.CPUShares, n.MemoryMB, cpu, memory)
			}
		}
	})
}

func TestTheOrderOfNodesDoesNotMatterNorDoesTheRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, d, n := drawPicture(t), drawDemand(t, "web"), rapid.IntRange(0, 9).Draw(t, "n")
		wanted, wantedErr := New(p).PlaceAll(d, n)
		for range 2 {
			got, err := New(shuffled(t, p)).PlaceAll(d, n)
			if diff := cmp.Diff(wanted, got); diff != "" || fmt.Sprint(wantedErr) != fmt.Sprint(err) {
				t.Errorf("%s%v, then %v", diff, wantedErr, err)
			}
		}
	})
}

func TestABatchIsPlacedAsOneAfterTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, d, n := drawPicture(t), drawDemand(t, "web"), rapid.IntRange(2, 12).Draw(t, "n")
		got, err := New(p).PlaceAll(d, n)
		c := New(p)
		var wanted []string
		var wantedErr error
		for range n {
			var node string
			if node, wantedErr = c.Place(d); wantedErr != nil {
				break
			}
			wanted = append(wanted, node)
		}
		if !slices.Equal(wanted, got) || fmt.Sprint(wantedErr) != fmt.Sprint(err) {
			t.Errorf("as a batch %v, %v; one after the other %v, %v", got, err, wanted, wantedErr)
		}
	})
}

func TestWhatIsReleasedLeavesNoTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, d := drawPicture(t), drawDemand(t, "web")
		d.Volumes = nil // they stay where they were made
		c := New(p)
		nodes, _ := c.PlaceAll(d, rapid.IntRange(0, 9).Draw(t, "n"))
		for _, node := range rapid.Permutation(nodes).Draw(t, "order of release") {
			if !c.Release(node, d) {
				t.Fatalf("%s was not released", node)
			}
		}
		fresh := New(p)
		wanted, wantedErr := fresh.PlaceAll(d, 5)
		got, err := c.PlaceAll(d, 5)
		if !slices.Equal(wanted, got) || fmt.Sprint(wantedErr) != fmt.Sprint(err) {
			t.Errorf("got %v, %v; want %v, %v", got, err, wanted, wantedErr)
		}
	})
}
