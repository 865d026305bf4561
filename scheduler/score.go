package scheduler

import "math"

// imageBonus is what an image that need not be pulled counts for beside the
// strategy's score: it decides between nodes that are loaded nearly alike.
const imageBonus = 0.1

// finest is how many steps of score there are in 1: scores that differ by less,
// which is rounding, are equal.
const finest = 1e9

// rank is what a node is worth for a replica, apart from the preferred spreads.
// A greater one is better; nodes of equal rank are told apart by order.
type rank struct {
	tier  int64 // preferences, then peers
	score float64
}

func (r rank) compare(other rank) int {
	switch {
	case r.tier != other.tier:
		if r.tier > other.tier {
			return 1
		}
		return -1
	case r.score > other.score:
		return 1
	case r.score < other.score:
		return -1
	}
	return 0
}

// rank ranks a node as it would be with one more replica.
func (c *Cluster) rank(a *ask, i int32) rank {
	var r rank
	for _, q := range a.prefer {
		if q.holds(i) {
			r.tier++
		}
	}
	r.tier <<= 32
	s := &c.states[i]
	f := &a.factors[s.size]
	sum := max(s.tenCPU*f.cpu, 1) + max(s.tenMemory*f.memory, 1) // 10^0 = 1 where nothing is left
	if a.binpack {
		r.score = (20 - sum) / 18
	} else {
		r.tier -= int64(a.peers[i])
		r.score = (sum - 2) / 18
	}
	if a.image.has(i) {
		r.score += imageBonus
	}
	r.score = float64(int64(r.score*finest+0.5)) / finest
	return r
}

// before orders nodes of equal rank: i before j.
func (c *Cluster) before(a *ask, i, j int32) bool {
	x, y := c.states[i].replicas, c.states[j].replicas
	if x != y {
		return (x < y) != a.binpack
	}
	return i < j
}

// compareSpreads orders two nodes by the preferred spreads: greater is better.
func (a *ask) compareSpreads(i, j int32) int {
	for s := range a.spreads {
		r := &a.spreads[s]
		if r.skew > 0 {
			continue
		}
		switch x, y := r.count(i), r.count(j); {
		case x < y:
			return 1
		case x > y:
			return -1
		}
	}
	return 0
}

// count is how many replicas of the service share the node's value. A node
// without the label comes last.
func (r *rule) count(i int32) int32 {
	value := r.column.ids[i]
	if value == absent {
		return math.MaxInt32
	}
	return r.counts[value]
}

// ten is 10 to the power of x.
func ten(x float64) float64 { return math.Exp(x * math.Ln10) }
