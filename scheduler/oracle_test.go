package scheduler

import (
	"math"
	"slices"

	"edgespawner/fleet"
)

// oracle judges placements by looking at a picture as a person would: slowly,
// with nothing kept from one question to the next.
type oracle struct {
	nodes    []Node
	services []Service
}

func (o *oracle) node(name string) *Node {
	return &o.nodes[slices.IndexFunc(o.nodes, func(n Node) bool { return n.Name == name })]
}

// put records a replica.
func (o *oracle) put(d Demand, node string) {
	d.Replaces = ""
	o.services = append(o.services, Service{Demand: d, Replicas: []Replica{{Node: node}}})
}

// each calls do for every replica that stands.
func (o *oracle) each(do func(d *Demand, node string)) {
	for s := range o.services {
		for _, r := range o.services[s].Replicas {
			do(&o.services[s].Demand, r.Node)
		}
	}
}

func (o *oracle) used(node string) (cpu, memory, replicas int) {
	o.each(func(d *Demand, at string) {
		if at == node {
			cpu, memory, replicas = cpu+d.CPUShares, memory+d.MemoryMB, replicas+1
		}
	})
	return cpu, memory, replicas
}

func label(n *Node, key string) (string, bool) {
	if key == fleet.NodeName {
		return n.Name, true
	}
	value, ok := n.Labels[key]
	return value, ok
}

// count returns how many replicas of the demand's service stand on nodes with that value.
func (o *oracle) count(d *Demand, key, value string) int {
	count := 0
	o.each(func(other *Demand, at string) {
		if got, ok := label(o.node(at), key); other.Service == d.Service && ok && got == value {
			count++
		}
	})
	if d.Replaces != "" {
		if got, ok := label(o.node(d.Replaces), key); ok && got == value {
			count--
		}
	}
	return count
}

func holds(n *Node, c fleet.Constraint) bool {
	key, value, equal, err := c.Parse()
	if err != nil {
		panic(err)
	}
	got, ok := label(n, key)
	return (ok && got == value) == equal
}

// lasting says whether a node could take a replica if it had room.
func (o *oracle) lasting(d *Demand, n *Node) bool {
	if n.Closed != "" || n.Platform != "" && len(d.Platforms) > 0 && !slices.Contains(d.Platforms, n.Platform) {
		return false
	}
	for _, c := range d.Placement.Constraints {
		if !holds(n, c) {
			return false
		}
	}
	for _, v := range d.Volumes {
		if where := o.volume(v.Name); len(where) > 0 && !slices.Contains(where, n.Name) {
			return false
		}
	}
	writes := slices.ContainsFunc(d.Volumes, func(v fleet.Volume) bool { return !v.ReadOnly })
	some, here := false, false
	o.each(func(other *Demand, at string) {
		some = some || other.Service == d.Service
		here = here || other.Service == d.Service && at == n.Name
	})
	return !writes || !some || here
}

// volume returns the nodes that have a volume.
func (o *oracle) volume(name string) []string {
	var where []string
	for _, n := range o.nodes {
		if slices.Contains(n.Volumes, name) {
			where = append(where, n.Name)
		}
	}
	o.each(func(d *Demand, at string) {
		if slices.ContainsFunc(d.Volumes, func(v fleet.Volume) bool { return v.Name == name }) {
			where = append(where, at)
		}
	})
	return where
}

func (o *oracle) portsFree(d *Demand, n *Node) bool {
	free := true
	check := func(theirs fleet.Port) {
		for _, mine := range d.Ports {
			if mine.HostPort != 0 && mine.HostPort == theirs.HostPort && (mine.Protocol == "udp") == (theirs.Protocol == "udp") &&
				(mine.HostIP == "" || theirs.HostIP == "" || mine.HostIP == theirs.HostIP) {
				free = false
			}
		}
	}
	for _, p := range n.Ports {
		check(p.Port)
	}
	o.each(func(other *Demand, at string) {
		if at == n.Name && other.Service != d.Service {
			for _, p := range other.Ports {
				check(p)
			}
		}
	})
	return free
}

func (o *oracle) fits(d *Demand, n *Node) bool {
	if !o.lasting(d, n) || !o.portsFree(d, n) {
		return false
	}
	cpu, memory, _ := o.used(n.Name)
	if n.CPUShares > 0 && d.CPUShares > 0 && cpu+d.CPUShares > n.CPUShares || n.MemoryMB > 0 && d.MemoryMB > 0 && memory+d.MemoryMB > n.MemoryMB {
		return false
	}
	if key := d.Placement.AntiAffinity; key != "" {
		value, ok := label(n, key)
		if !ok || o.count(d, key, value) > 0 {
			return false
		}
	}
	for _, s := range d.Placement.Spread {
		if value, ok := label(n, s.Over); s.Required && (!ok || o.count(d, s.Over, value)+1-o.floor(d, s.Over) > max(s.MaxSkew, 1)) {
			return false
		}
	}
	return true
}

// floor is the smallest count of the values that could take a replica.
func (o *oracle) floor(d *Demand, key string) int {
	floor := math.MaxInt
	for i := range o.nodes {
		if value, ok := label(&o.nodes[i], key); ok && o.lasting(d, &o.nodes[i]) {
			floor = min(floor, o.count(d, key, value))
		}
	}
	if floor == math.MaxInt {
		return 0
	}
	return floor
}

// worth is what the choice goes by, the earlier number deciding; greater is better.
func (o *oracle) worth(d *Demand, n *Node) []float64 {
	var worth []float64
	for _, s := range d.Placement.Spread {
		if s.Required {
			continue
		}
		count := math.Inf(1)
		if value, ok := label(n, s.Over); ok {
			count = float64(o.count(d, s.Over, value))
		}
		worth = append(worth, -count)
	}
	liked := 0.0
	for _, c := range d.Placement.Prefer {
		if holds(n, c) {
			liked++
		}
	}
	worth = append(worth, liked)
	cpu, memory, replicas := 0.0, 0.0, 0
	o.each(func(other *Demand, at string) {
		if at == n.Name {
			cpu, memory, replicas = cpu+float64(max(other.CPUShares, 32)), memory+float64(max(other.MemoryMB, 32)), replicas+1
		}
	})
	free := func(used float64, all, nominal int) float64 {
		if all == 0 {
			all = nominal
		}
		return max(1-used/float64(all), 0)
	}
	tens := math.Pow(10, free(cpu+float64(max(d.CPUShares, 32)), n.CPUShares, 4096)) + math.Pow(10, free(memory+float64(max(d.MemoryMB, 32)), n.MemoryMB, 8192))
	image := 0.0
	if slices.Contains(n.Images, d.Image) {
		image = 0.1
	}
	if d.Placement.Strategy == fleet.StrategyBinpack {
		return append(worth, (20-tens)/18+image, float64(replicas))
	}
	return append(worth, -float64(o.count(d, fleet.NodeName, n.Name)), (tens-2)/18+image, -float64(replicas))
}

// better says whether one worth is above another by more than rounding.
func better(x, y []float64) bool {
	for i := range x {
		if math.IsInf(x[i], -1) && math.IsInf(y[i], -1) {
			continue
		}
		if math.Abs(x[i]-y[i]) > 1e-9 {
			return x[i] > y[i]
		}
	}
	return false
}
