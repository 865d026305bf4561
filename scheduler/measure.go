package scheduler

import "cmp"

// measure tells of two pictures which is the better one as a whole. It is
// one for the whole fleet, so that moves that each make it better can never
// lead back to where they began, whatever each replica would choose for itself.
// The first of these that differs decides:
//
//  1. replicas that stand where their placement or a lack of room forbids it: fewer;
//  2. those too close to others of their service, by what is required: fewer;
//  3. preferred spreads, in the order of the spec: more even;
//  4. preferences that hold: more;
//  5. replicas of one service on the same nodes, unless they pack: more even;
//  6. load: the sum over the nodes of twice the square of the load that packs,
//     less the square of the whole load: greater. What spreads thus keeps off
//     everything, and what packs seeks what packs, but not what spreads: if it
//     sought that too, the one would follow the other from node to node for ever.
//
// A move changes 2 to 5 only for its own service, and of 1 besides only for the
// better: it goes where there is room. So it is enough to measure its service.
type measure struct {
	forbidden, crowded int64
	uneven             []int64 // by preferred spread
	liked              int64
	peers              int64
}

// unlabelled is what a replica on a node without the label of a spread counts for: more than any unevenness.
const unlabelled = 1 << 40

// compare returns more than 0 when m is better than the other.
func (m *measure) compare(other *measure) int {
	order := cmp.Or(cmp.Compare(other.forbidden, m.forbidden), cmp.Compare(other.crowded, m.crowded))
	for s := 0; order == 0 && s < max(len(m.uneven), len(other.uneven)); s++ {
		order = cmp.Compare(nth(other.uneven, s), nth(m.uneven, s))
	}
	return cmp.Or(order, cmp.Compare(m.liked, other.liked), cmp.Compare(other.peers, m.peers))
}

func nth(list []int64, i int) int64 {
	if i < len(list) {
		return list[i]
	}
	return 0
}

// stand is where the replicas of one demand stand.
type stand struct {
	demand Demand
	on     map[int32]int64 // replicas by node
}

// measure adds up what stands of one service.
func (c *Cluster) measure(stands []*stand) measure {
	var m measure
	for _, s := range stands {
		if len(s.on) == 0 || !c.weighRules(&m, s) {
			continue
		}
		for i, n := range s.on {
			if n == 0 || c.states[i].closed {
				continue
			}
			switch c.wrong(s.demand, i) {
			case fits:
			case hasPeer, lacksLabel, wouldSkew:
				m.crowded += n
			default:
				m.forbidden += n
			}
		}
	}
	return m
}

// weighRules adds what a demand's wishes come to. False = it cannot be judged.
func (c *Cluster) weighRules(m *measure, s *stand) bool {
	a, err := c.ask(&s.demand)
	if err != nil {
		return false
	}
	defer c.done(a)
	preferred := 0
	for r := range a.spreads {
		if rule := &a.spreads[r]; rule.skew == 0 {
			if preferred == len(m.uneven) {
				m.uneven = append(m.uneven, 0)
			}
			m.uneven[preferred] += rule.unevenness(s)
			preferred++
		}
	}
	for i, n := range s.on {
		m.liked += n * int64(a.liked(i))
	}
	if !a.binpack {
		for i := range c.services[s.demand.Service].on {
			m.peers += int64(a.peers[i]) * int64(a.peers[i])
		}
	}
	return true
}

func (r *rule) unevenness(s *stand) int64 {
	var sum int64
	for _, count := range r.counts {
		sum += int64(count) * int64(count)
	}
	for i, n := range s.on {
		if r.column.ids[i] == absent {
			sum += n * unlabelled
		}
	}
	return sum
}

// wrong is the filter that a replica fails where it stands.
func (c *Cluster) wrong(d Demand, i int32) verdict {
	d.Replaces = c.nodes[i].Name
	a, err := c.ask(&d)
	if err != nil {
		return fits
	}
	defer c.done(a)
	c.book(i, &d, -1)
	defer c.book(i, &d, 1)
	return c.judge(a, i)
}

// packs is how much of what packs is on a node.
type packs struct{ cpu, memory int64 }

func (p *packs) book(d *Demand, sign int64) {
	if d.packs() {
		cpu, memory := d.load()
		p.cpu += sign * cpu
		p.memory += sign * memory
	}
}

// join is what the measure of load gains when a replica comes to a node, beside
// that much of what packs there. Loads are shares of the node, and nodes weigh
// by their size: then full alike is best, whatever the sizes.
func (c *Cluster) join(i int32, d *Demand, beside packs, mean size) float64 {
	with := beside
	with.book(d, 1)
	s := &c.states[i]
	of := c.sizes[s.size]
	cpu, memory := d.load()
	return grown(beside.cpu, with.cpu, s.loadCPU, s.loadCPU+cpu)/of.cpu/mean.cpu +
		grown(beside.memory, with.memory, s.loadMemory, s.loadMemory+memory)/of.memory/mean.memory
}

func grown(packed, packedThen, all, allThen int64) float64 {
	return float64(2*(packedThen*packedThen-packed*packed) - (allThen*allThen - all*all))
}

// meanSize is what the sizes of nodes are measured by.
func (c *Cluster) meanSize() size {
	var mean size
	for i := range c.states {
		of := c.sizes[c.states[i].size]
		mean.cpu += of.cpu / float64(len(c.states))
		mean.memory += of.memory / float64(len(c.states))
	}
	return mean
}
