package scheduler

import (
	"slices"
	"strings"

	"edgespawner/fleet"
)

// ask is a demand made ready for one cluster.
type ask struct {
	demand      *Demand
	binpack     bool
	constraints []condition
	prefer      []condition
	volumes     []bits // where each volume is; a volume that is nowhere may be made anywhere
	mates       bool   // only nodes that have replicas of the service: it writes to volumes
	standing    map[int32]int32
	platforms   []bool // by value of the column: whether the image is made for it; nil = for all
	image       bits
	ports       []fleet.Port
	spreads     []rule // required and preferred, in the order of the spec
	apart       *rule  // anti-affinity
	peers       []int32
	factors     []factor // by size
}

// condition is a constraint or a preference.
type condition struct {
	column *column
	value  int32 // absent = no node has it
	equal  bool
	text   fleet.Constraint
}

func (q condition) holds(i int32) bool {
	return (q.value != absent && q.column.ids[i] == q.value) == q.equal
}

// rule is a spread or an anti-affinity: the replicas of the service counted by a label's value.
type rule struct {
	column *column
	over   string
	counts []int32 // by value
	skew   int32   // required: what is allowed; 0 = preferred
	floor  int32   // required: the smallest count among the values of nodes that could take a replica
	open   []int32 // required: by value, how many such nodes there are
}

// factor is what a node's powers of ten are multiplied with when the replica is put there.
type factor struct{ cpu, memory float64 }

// scratch is memory that one placement leaves for the next.
type scratch struct {
	peers   []int32
	factors []factor
}

// ask prepares a demand. The caller calls done afterwards.
func (c *Cluster) ask(d *Demand) (*ask, error) {
	a := &ask{demand: d, binpack: d.packs(), image: c.images[d.Image]}
	var err error
	if a.constraints, err = c.conditions(d.Placement.Constraints); err != nil {
		return nil, err
	}
	if a.prefer, err = c.conditions(d.Placement.Prefer); err != nil {
		return nil, err
	}
	for _, port := range d.Ports {
		if port.HostPort != 0 {
			a.ports = append(a.ports, port)
		}
	}
	c.countPeers(a)
	c.findVolumes(a)
	c.findPlatforms(a)
	c.weighSizes(a)
	for _, s := range d.Placement.Spread {
		r := c.rule(a, s.Over)
		if s.Required {
			r.skew = int32(max(s.MaxSkew, 1))
			c.findOpen(a, &r)
		}
		a.spreads = append(a.spreads, r)
	}
	if over := d.Placement.AntiAffinity; over != "" {
		r := c.rule(a, over)
		a.apart = &r
	}
	return a, nil
}

func (c *Cluster) conditions(constraints []fleet.Constraint) ([]condition, error) {
	var list []condition
	for _, text := range constraints {
		label, value, equal, err := text.Parse()
		if err != nil {
			return nil, fleet.InvalidField("placement", "%v", err)
		}
		column := c.column(label)
		id, ok := column.index[value]
		if !ok {
			id = absent
		}
		list = append(list, condition{column, id, equal, text})
	}
	return list, nil
}

// countPeers writes how many replicas of the service count on each node.
func (c *Cluster) countPeers(a *ask) {
	if c.scratch.peers == nil {
		c.scratch.peers = make([]int32, len(c.nodes))
	}
	a.peers = c.scratch.peers
	if s := c.services[a.demand.Service]; s != nil {
		for i, count := range s.on {
			a.peers[i] = count
		}
	}
	if i, ok := c.numbers[a.demand.Replaces]; ok && a.peers[i] > 0 {
		a.peers[i]--
	}
}

// done leaves the memory of an ask as the next one expects it.
func (c *Cluster) done(a *ask) {
	if s := c.services[a.demand.Service]; s != nil {
		for i := range s.on {
			a.peers[i] = 0
		}
	}
}

func (c *Cluster) findVolumes(a *ask) {
	for _, volume := range a.demand.Volumes {
		a.volumes = append(a.volumes, c.volumes[volume.Name])
	}
	s := c.services[a.demand.Service]
	if a.demand.pinnedByVolumes() && s != nil && s.total > 0 {
		a.mates, a.standing = true, s.on
	}
}

func (c *Cluster) findPlatforms(a *ask) {
	if len(a.demand.Platforms) == 0 {
		return
	}
	a.platforms = make([]bool, len(c.platforms.values))
	for id, platform := range c.platforms.values {
		a.platforms[id] = slices.ContainsFunc(a.demand.Platforms, func(made string) bool {
			return made == platform || strings.HasPrefix(made, platform+"/") // a variant, such as linux/arm64/v8
		})
	}
}

func (c *Cluster) weighSizes(a *ask) {
	if c.scratch.factors == nil {
		c.scratch.factors = make([]factor, len(c.sizes))
	}
	a.factors = c.scratch.factors
	cpu, memory := a.demand.load()
	for i, s := range c.sizes {
		a.factors[i] = factor{ten(-float64(cpu) / s.cpu), ten(-float64(memory) / s.memory)}
	}
}

// rule counts the replicas of the service by the values of a label.
func (c *Cluster) rule(a *ask, over string) rule {
	r := rule{column: c.column(over), over: over}
	r.counts = make([]int32, len(r.column.values))
	if s := c.services[a.demand.Service]; s != nil {
		for i := range s.on {
			if value := r.column.ids[i]; value != absent {
				r.counts[value] += a.peers[i]
			}
		}
	}
	return r
}

// findOpen counts, for each value, the nodes that could take a replica if they
// had room: the emptiest of these values is what the others are measured by.
func (c *Cluster) findOpen(a *ask, r *rule) {
	r.open = make([]int32, len(r.counts))
	for i := range c.states {
		if value := r.column.ids[i]; value != absent && c.lasting(a, int32(i)) == fits {
			r.open[value]++
		}
	}
	r.refloor()
}

func (r *rule) refloor() {
	first := true
	for value, nodes := range r.open {
		if nodes > 0 && (first || r.counts[value] < r.floor) {
			r.floor, first = r.counts[value], false
		}
	}
}

// took records a replica that this ask has put on a node.
func (a *ask) took(i int32) {
	a.peers[i]++
	for s := range a.spreads {
		a.spreads[s].took(i)
	}
	if a.apart != nil {
		a.apart.took(i)
	}
}

func (r *rule) took(i int32) {
	value := r.column.ids[i]
	if value == absent {
		return
	}
	r.counts[value]++
	if r.skew > 0 && r.counts[value]-1 == r.floor {
		r.refloor()
	}
}
