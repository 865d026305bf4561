package scheduler

import (
	"maps"
	"math"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// Cluster is a picture made ready for choosing: nodes by number, in the order
// of their names. It changes with what is held and released.
type Cluster struct {
	nodes     []Node // never changed
	numbers   map[string]int32
	states    []state
	sizes     []size
	services  map[string]*service
	ports     [][]heldPort
	images    map[string]bits
	volumes   map[string]bits
	columns   map[string]*column
	platforms *column
	scratch   scratch
}

// state is what of a node changes, and what choosing looks at most.
type state struct {
	freeCPU, freeMemory int64   // math.MaxInt64/2 and more = not known, never short
	loadCPU, loadMemory int64   // for the score: nominal where nothing is reserved
	tenCPU, tenMemory   float64 // 10 to the power of the share that is free of the load
	replicas            int32
	size                int32 // its number in sizes
	closed              bool
}

// size is a capacity that some nodes have in common.
type size struct{ cpu, memory float64 }

// service is what stands of a service.
type service struct {
	on    map[int32]int32 // replicas by node
	total int
}

type heldPort struct {
	port    fleet.Port
	service string // empty = of what is not among the services
	holder  string
	count   int // replicas of the service there that declare it
}

// bits is a set of nodes.
type bits []uint64

func (b bits) has(i int32) bool { return b != nil && b[i>>6]&(1<<(i&63)) != 0 }

// column is what the nodes have of one label.
type column struct {
	ids    []int32 // by node; absent = it has no such label
	values []string
	index  map[string]int32
}

const (
	absent    = -1
	unlimited = math.MaxInt64 / 2
)

// What a replica that reserves nothing, and a node whose size is not known, count for in the score.
const (
	nominalCPU, nominalMemory           = 32, 32
	nominalSizeCPU, nominalSizeMemoryMB = 4 * 1024, 8 * 1024
)

// New makes a cluster of a picture. Replicas on nodes that are not in it are left out.
func New(p Picture) *Cluster {
	c := &Cluster{services: map[string]*service{}, columns: map[string]*column{}}
	c.nodes = slices.Clone(p.Nodes)
	slices.SortStableFunc(c.nodes, func(x, y Node) int { return strings.Compare(x.Name, y.Name) })
	c.nodes = slices.CompactFunc(c.nodes, func(x, y Node) bool { return x.Name == y.Name })
	c.numbers = make(map[string]int32, len(c.nodes))
	c.states = make([]state, len(c.nodes))
	c.ports = make([][]heldPort, len(c.nodes))
	c.images, c.volumes = map[string]bits{}, map[string]bits{}
	c.platforms = c.columnOf(func(n *Node) (string, bool) { return n.Platform, n.Platform != "" })
	known := map[size]int32{}
	for i := range c.nodes {
		c.add(int32(i), known)
	}
	for _, s := range p.Services {
		for _, r := range s.Replicas {
			c.Hold(r.Node, s.Demand)
		}
	}
	return c
}

func (c *Cluster) add(i int32, known map[size]int32) {
	n := &c.nodes[i]
	c.numbers[n.Name] = i
	s := &c.states[i]
	s.closed = n.Closed != ""
	s.freeCPU, s.freeMemory = known64(n.CPUShares), known64(n.MemoryMB)
	sized := size{float64(n.CPUShares), float64(n.MemoryMB)}
	if sized.cpu <= 0 {
		sized.cpu = nominalSizeCPU
	}
	if sized.memory <= 0 {
		sized.memory = nominalSizeMemoryMB
	}
	number, ok := known[sized]
	if !ok {
		number = int32(len(c.sizes))
		known[sized] = number
		c.sizes = append(c.sizes, sized)
	}
	s.size = number
	s.weigh(sized)
	for _, image := range n.Images {
		c.mark(c.images, image, i)
	}
	for _, volume := range n.Volumes {
		c.mark(c.volumes, volume, i)
	}
	for _, port := range n.Ports {
		c.ports[i] = append(c.ports[i], heldPort{port: port.Port, holder: port.Holder, count: 1})
	}
}

func known64(capacity int) int64 {
	if capacity <= 0 {
		return unlimited
	}
	return int64(capacity)
}

func (c *Cluster) mark(set map[string]bits, name string, i int32) {
	b := set[name]
	if b == nil {
		b = make(bits, (len(c.nodes)+63)/64)
		set[name] = b
	}
	b[i>>6] |= 1 << (i & 63)
}

// Clone returns a copy that changes apart from this one.
func (c *Cluster) Clone() *Cluster {
	other := *c
	other.scratch = scratch{}
	other.states = slices.Clone(c.states)
	other.columns = maps.Clone(c.columns)
	other.services = make(map[string]*service, len(c.services))
	for name, s := range c.services {
		other.services[name] = &service{on: maps.Clone(s.on), total: s.total}
	}
	other.ports = make([][]heldPort, len(c.ports))
	for i, ports := range c.ports {
		other.ports[i] = slices.Clone(ports)
	}
	other.volumes = make(map[string]bits, len(c.volumes))
	for name, b := range c.volumes {
		other.volumes[name] = slices.Clone(b)
	}
	return &other
}

// Hold records a replica on a node, whether it fits there or not. False = there is no such node.
func (c *Cluster) Hold(node string, d Demand) bool {
	i, ok := c.numbers[node]
	if ok {
		c.hold(i, &d)
	}
	return ok
}

// Release takes back what Hold recorded, or what a placement held.
func (c *Cluster) Release(node string, d Demand) bool {
	i, ok := c.numbers[node]
	if !ok || c.services[d.Service] == nil || c.services[d.Service].on[i] == 0 {
		return false
	}
	c.release(i, &d)
	return true
}

func (c *Cluster) hold(i int32, d *Demand) {
	c.book(i, d, 1)
	s := c.services[d.Service]
	if s == nil {
		s = &service{on: map[int32]int32{}}
		c.services[d.Service] = s
	}
	s.on[i]++
	s.total++
	for _, port := range d.Ports {
		if port.HostPort != 0 {
			c.holdPort(i, port, d.Service)
		}
	}
	for _, volume := range d.Volumes { // it is there from now on, whatever becomes of the replica
		if !c.volumes[volume.Name].has(i) {
			c.mark(c.volumes, volume.Name, i)
		}
	}
}

func (c *Cluster) release(i int32, d *Demand) {
	c.book(i, d, -1)
	s := c.services[d.Service]
	s.total--
	if s.on[i]--; s.on[i] == 0 {
		delete(s.on, i)
	}
	for _, port := range d.Ports {
		at := slices.IndexFunc(c.ports[i], func(h heldPort) bool { return h.service == d.Service && h.port == port })
		if at < 0 {
			continue
		}
		if c.ports[i][at].count--; c.ports[i][at].count == 0 {
			c.ports[i] = slices.Delete(c.ports[i], at, at+1)
		}
	}
}

func (c *Cluster) holdPort(i int32, port fleet.Port, service string) {
	at := slices.IndexFunc(c.ports[i], func(h heldPort) bool { return h.service == service && h.port == port })
	if at < 0 {
		c.ports[i] = append(c.ports[i], heldPort{port: port, service: service, holder: service, count: 1})
		return
	}
	c.ports[i][at].count++
}

// book adds a replica's reservations to a node's, or with -1 takes them off.
func (c *Cluster) book(i int32, d *Demand, sign int64) {
	s := &c.states[i]
	s.freeCPU -= sign * int64(d.CPUShares)
	s.freeMemory -= sign * int64(d.MemoryMB)
	cpu, memory := d.load()
	s.loadCPU += sign * cpu
	s.loadMemory += sign * memory
	s.replicas += int32(sign)
	s.weigh(c.sizes[s.size])
}

// load is what a replica counts for in the score.
func (d *Demand) load() (cpu, memory int64) {
	return int64(max(d.CPUShares, nominalCPU)), int64(max(d.MemoryMB, nominalMemory))
}

func (s *state) weigh(of size) {
	s.tenCPU = ten(1 - float64(s.loadCPU)/of.cpu)
	s.tenMemory = ten(1 - float64(s.loadMemory)/of.memory)
}

// column returns what the nodes have of a label; it is made at its first use.
func (c *Cluster) column(label string) *column {
	known := c.columns[label]
	if known == nil {
		known = c.columnOf(func(n *Node) (string, bool) {
			if label == fleet.NodeName {
				return n.Name, true
			}
			value, ok := n.Labels[label]
			return value, ok
		})
		c.columns[label] = known
	}
	return known
}

func (c *Cluster) columnOf(value func(*Node) (string, bool)) *column {
	made := &column{ids: make([]int32, len(c.nodes)), index: map[string]int32{}}
	for i := range c.nodes {
		text, ok := value(&c.nodes[i])
		if !ok {
			made.ids[i] = absent
			continue
		}
		id, known := made.index[text]
		if !known {
			id = int32(len(made.values))
			made.index[text] = id
			made.values = append(made.values, text)
		}
		made.ids[i] = id
	}
	return made
}
