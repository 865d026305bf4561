package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// worthMoving is by how much the score of a node must be above that of the one
// where a replica stands, so that moving it is worth the trouble.
const worthMoving = 0.05

// leastLift is what the measure of load must gain: more than rounding.
const leastLift = 1e-9

// Rebalance returns up to budget moves, the most useful first, each of which
// puts a replica where it would be put if it were placed now: off nodes that
// its placement forbids, closer to what it prefers, away from its peers, off
// nodes that are fuller than others. Every move also makes the whole picture
// better by one measure (see measure), so that no plan undoes another, and
// planning again and again ends. A replica is moved once at most, never off
// a closed node, never when it is pinned or the service writes to volumes. The
// moves may be made in any order and all at once: every new replica finds room
// beside all that stands now.
func Rebalance(p Picture, budget int) []Move {
	b := newBalance(p)
	var moves []Move
	for len(moves) < budget {
		best, at := gain{}, -1
		for i := range b.movable {
			if i > 0 && b.movable[i].sameAs(&b.movable[i-1].displaced) {
				continue // it gains the same
			}
			d := &b.movable[i]
			if g := b.gainOf(d); g.above(best) && b.beside.takes(&d.displaced, g.to) && b.improves(d, g) {
				best, at = g, i
			}
		}
		if at < 0 {
			break
		}
		d := b.movable[at]
		d.move.To, d.move.Reason = b.nodes[best.to].Name, best.reason
		b.shift(&d, b.numbers[d.move.From], best.to)
		b.beside.hold(best.to, &d.demand)
		moves = append(moves, d.move)
		b.movable = slices.Delete(b.movable, at, at+1)
	}
	return moves
}

// balance is a cluster as it becomes by the moves of a plan.
type balance struct {
	*Cluster
	beside  *Cluster // what is moved stands twice there
	movable []mover
	stands  map[string][]*stand // by service
	packed  []packs             // by node
	mean    size
}

// mover is a replica that may be moved, with those that are like it.
type mover struct {
	displaced
	stand *stand
}

func newBalance(p Picture) *balance {
	b := &balance{Cluster: New(p), stands: map[string][]*stand{}}
	b.beside, b.packed, b.mean = b.Clone(), make([]packs, len(b.nodes)), b.meanSize()
	for _, s := range p.Services {
		like := &stand{s.Demand, map[int32]int64{}}
		b.stands[s.Demand.Service] = append(b.stands[s.Demand.Service], like)
		for _, r := range s.Replicas {
			i, ok := b.numbers[r.Node]
			if !ok {
				continue
			}
			like.on[i]++
			b.packed[i].book(&s.Demand, 1)
			if !r.Pinned && !b.states[i].closed && !s.Demand.pinnedByVolumes() {
				b.movable = append(b.movable, mover{displaced{s.Demand, Move{Service: s.Demand.Service, Index: r.Index, From: r.Node}}, like})
			}
		}
	}
	slices.SortFunc(b.movable, func(x, y mover) int {
		return cmp.Or(strings.Compare(x.move.Service, y.move.Service), strings.Compare(x.move.From, y.move.From), cmp.Compare(x.move.Index, y.move.Index))
	})
	return b
}

// improves says whether the whole picture is better after a move.
func (b *balance) improves(d *mover, g gain) bool {
	from, stands := b.numbers[d.move.From], b.stands[d.move.Service]
	before := b.measure(stands)
	b.shift(d, from, g.to)
	after := b.measure(stands)
	b.shift(d, g.to, from)
	order := after.compare(&before)
	return order > 0 || order == 0 && g.kind == gainLoad // which has been measured
}

// shift puts a replica from one node on another.
func (b *balance) shift(d *mover, from, to int32) {
	b.release(from, &d.demand)
	b.hold(to, &d.demand)
	b.packed[from].book(&d.demand, -1)
	b.packed[to].book(&d.demand, 1)
	if d.stand.on[from]--; d.stand.on[from] == 0 {
		delete(d.stand.on, from)
	}
	d.stand.on[to]++
}

// takes says whether a node has room for a replica that leaves another.
func (c *Cluster) takes(d *displaced, to int32) bool {
	demand := d.demand
	demand.Replaces = d.move.From
	return c.Fits(c.nodes[to].Name, demand)
}

func (d *displaced) sameAs(other *displaced) bool {
	return d.move.Service == other.move.Service && d.move.From == other.move.From && d.demand.sameRoom(&other.demand)
}

func (d *Demand) sameRoom(other *Demand) bool {
	return d.CPUShares == other.CPUShares && d.MemoryMB == other.MemoryMB && d.Image == other.Image
}

// gain is what a move brings. Its kinds are those of the choice, the first the most.
type gain struct {
	kind   int // 0 = none
	by     float64
	to     int32
	reason string
}

const (
	gainNone = iota
	gainLoad
	gainPeers
	gainLiked
	gainSpread
	gainAllowed
)

func (g gain) above(other gain) bool {
	if g.kind != other.kind {
		return g.kind > other.kind
	}
	return g.kind != gainNone && g.by > other.by
}

// gainOf compares where a replica stands with where it would be put now.
func (b *balance) gainOf(d *mover) gain {
	demand := d.demand
	demand.Replaces = d.move.From
	a, err := b.ask(&demand)
	if err != nil {
		return gain{}
	}
	defer b.done(a)
	from := b.numbers[d.move.From]
	to, _ := b.best(a)
	if to == absent || to == from {
		return gain{}
	}
	b.book(from, &demand, -1) // as if it were not there, for as long as it is judged
	defer b.book(from, &demand, 1)
	if v := b.judge(a, from); v != fits {
		return gain{gainAllowed, 1, to, b.reason(a, v, from)}
	}
	return b.compare(a, from, to)
}

// compare says what the second node has over the first.
func (b *balance) compare(a *ask, from, to int32) gain {
	if order := a.compareSpreads(to, from); order != 0 {
		if order < 0 {
			return gain{}
		}
		return gain{gainSpread, 1, to, a.spreadReason(from, to)}
	}
	switch liked, peers := a.liked(to)-a.liked(from), a.peers[from]-a.peers[to]; {
	case liked > 0:
		return gain{gainLiked, float64(liked), to, fmt.Sprintf("more of what it prefers holds for %s", b.nodes[to].Name)}
	case liked < 0:
	case peers > 0 && !a.binpack:
		return gain{gainPeers, float64(peers), to, fmt.Sprintf("%s has %s of it, %s %d", b.nodes[from].Name, fleet.Counted(a.peers[from]+1, "replica"), b.nodes[to].Name, a.peers[to])}
	case peers < 0 && !a.binpack:
	case b.fullness(a, to)-b.fullness(a, from) > worthMoving:
		return b.loadGain(a, from, to)
	}
	return gain{}
}

// loadGain finds the node by which the load of the fleet gains the most, among
// those as good as the one that would be chosen in all else.
func (b *balance) loadGain(a *ask, from, like int32) gain {
	beside := b.packed[from]
	beside.book(a.demand, -1)
	here, stays := b.fullness(a, from), b.join(from, a.demand, beside, b.mean)
	tier := b.rank(a, like).tier
	best := gain{by: leastLift}
	for i := range int32(len(b.nodes)) {
		lift := b.join(i, a.demand, b.packed[i], b.mean) - stays
		if lift <= best.by || i == from || b.fullness(a, i)-here <= worthMoving || b.judge(a, i) != fits {
			continue
		}
		if a.compareSpreads(i, like) == 0 && b.rank(a, i).tier == tier {
			best = gain{kind: gainLoad, by: lift, to: i}
		}
	}
	if best.kind != gainNone {
		best.reason = b.loadReason(a, from, best.to)
	}
	return best
}

// fullness is the strategy's score of a node, without what its images count for.
func (c *Cluster) fullness(a *ask, i int32) float64 {
	score := c.rank(a, i).score
	if a.image.has(i) {
		score -= imageBonus
	}
	return score
}

// liked is how many of the preferences hold for a node.
func (a *ask) liked(i int32) int {
	n := 0
	for _, q := range a.prefer {
		if q.holds(i) {
			n++
		}
	}
	return n
}

// spreadReason names the first preferred spread by which the second node is better.
func (a *ask) spreadReason(from, to int32) string {
	for s := range a.spreads {
		r := &a.spreads[s]
		if r.skew > 0 || r.count(from) == r.count(to) {
			continue
		}
		if r.column.ids[from] == absent {
			return "no label " + r.over
		}
		return fmt.Sprintf("%s %s has %s of it, %s %d", r.over, r.column.values[r.column.ids[from]], fleet.Counted(r.count(from)+1, "replica"), r.column.values[r.column.ids[to]], r.count(to))
	}
	panic("equal by every spread")
}

// loadReason tells how full the two nodes are with the replica where it is.
func (c *Cluster) loadReason(a *ask, from, to int32) string {
	cpu, memory := a.demand.load()
	return fmt.Sprintf("%s is %d %% full, %s %d %%", c.nodes[from].Name, c.percent(from, cpu, memory), c.nodes[to].Name, c.percent(to, 0, 0))
}

// percent is how full a node is by what is scarcer there, with so much more on it.
func (c *Cluster) percent(i int32, cpu, memory int64) int {
	s := &c.states[i]
	size := c.sizes[s.size]
	return int(100 * max(float64(s.loadCPU+cpu)/size.cpu, float64(s.loadMemory+memory)/size.memory))
}
