package scheduler

// Place chooses the node for one replica and holds it there. The error is
// *Unplaceable, or of kind Invalid for a constraint that does not parse.
func (c *Cluster) Place(d Demand) (string, error) {
	a, err := c.ask(&d)
	if err != nil {
		return "", err
	}
	defer c.done(a)
	best, err := c.best(a)
	if err != nil {
		return "", err
	}
	c.hold(best, &d)
	return c.nodes[best].Name, nil
}

// Fits says whether a node could take a replica as things are; nothing is held.
func (c *Cluster) Fits(node string, d Demand) bool {
	i, there := c.numbers[node]
	if !there {
		return false
	}
	a, err := c.ask(&d)
	if err != nil {
		return false
	}
	defer c.done(a)
	return c.judge(a, i) == fits
}

// PlaceAll chooses the nodes for n equal replicas, one after the other, and
// holds them there. When fewer fit, it returns the nodes of those that do,
// which are held, and the reason why no more fit.
func (c *Cluster) PlaceAll(d Demand, n int) ([]string, error) {
	if n > 1 && len(d.Volumes) == 0 && d.Replaces == "" {
		return c.placeBatch(&d, n)
	}
	chosen := make([]string, 0, max(n, 0))
	for range n { // where the first one is says where the volumes are
		node, err := c.Place(d)
		if err != nil {
			return chosen, err
		}
		chosen = append(chosen, node)
		d.Replaces = ""
	}
	return chosen, nil
}

// best returns the best of all nodes that fit.
func (c *Cluster) best(a *ask) (int32, error) {
	best, bestRank := int32(absent), rank{}
	for i := range int32(len(c.nodes)) {
		if c.judge(a, i) != fits {
			continue
		}
		if r := c.rank(a, i); best == absent || c.better(a, i, r, best, bestRank) {
			best, bestRank = i, r
		}
	}
	if best == absent {
		return best, c.explain(a)
	}
	return best, nil
}

func (c *Cluster) better(a *ask, i int32, x rank, j int32, y rank) bool {
	if order := a.compareSpreads(i, j); order != 0 {
		return order > 0
	}
	if order := x.compare(y); order != 0 {
		return order > 0
	}
	return c.before(a, i, j)
}

// batch is a number of placements of one demand. Nodes that share the values of
// all the demand's rules are one group: the rules tell groups apart, and rank
// tells nodes of a group apart, so that the best of a group is the top of its heap.
type batch struct {
	cluster *Cluster
	ask     *ask
	ranks   []rank // by node
	groups  [][]int32
}

func (c *Cluster) placeBatch(d *Demand, n int) ([]string, error) {
	a, err := c.ask(d)
	if err != nil {
		return nil, err
	}
	defer c.done(a)
	b := &batch{cluster: c, ask: a, ranks: make([]rank, len(c.nodes))}
	b.fill()
	chosen := make([]string, 0, n)
	for range n {
		group := b.bestGroup()
		if group == absent {
			return chosen, c.explain(a)
		}
		i := b.groups[group][0]
		c.hold(i, d)
		a.took(i)
		chosen = append(chosen, c.nodes[i].Name)
		b.settle(group)
	}
	return chosen, nil
}

// fill ranks the nodes that have room, and puts each in the heap of its group.
func (b *batch) fill() {
	groupOf, groups := b.group()
	b.groups = make([][]int32, groups)
	for i := range int32(len(b.ranks)) {
		if b.cluster.lasting(b.ask, i) == fits && b.cluster.room(b.ask, i) == fits {
			b.ranks[i] = b.cluster.rank(b.ask, i)
			b.groups[groupOf[i]] = append(b.groups[groupOf[i]], i)
		}
	}
	for _, heap := range b.groups {
		for at := len(heap)/2 - 1; at >= 0; at-- {
			b.sink(heap, at)
		}
	}
}

// group numbers the nodes by the values that the demand's rules look at.
func (b *batch) group() (groupOf []int32, groups int) {
	groupOf, groups = make([]int32, len(b.ranks)), 1
	refine := func(r *rule) {
		seen := map[[2]int32]int32{}
		for i, value := range r.column.ids {
			key := [2]int32{groupOf[i], value}
			number, ok := seen[key]
			if !ok {
				number = int32(len(seen))
				seen[key] = number
			}
			groupOf[i] = number
		}
		groups = max(len(seen), 1)
	}
	for s := range b.ask.spreads {
		refine(&b.ask.spreads[s])
	}
	if b.ask.apart != nil {
		refine(b.ask.apart)
	}
	return groupOf, groups
}

// bestGroup returns the group whose best node is the best of all that the rules allow.
func (b *batch) bestGroup() int {
	best := absent
	for g, heap := range b.groups {
		if len(heap) == 0 || b.ask.among(heap[0]) != fits {
			continue
		}
		if best == absent || b.above(heap[0], b.groups[best][0]) {
			best = g
		}
	}
	return best
}

func (b *batch) above(i, j int32) bool {
	return b.cluster.better(b.ask, i, b.ranks[i], j, b.ranks[j])
}

// settle ranks the top of a heap anew, which has just got a replica, or takes it out when it is full.
func (b *batch) settle(group int) {
	heap := b.groups[group]
	if i := heap[0]; b.cluster.room(b.ask, i) == fits {
		b.ranks[i] = b.cluster.rank(b.ask, i)
	} else {
		heap[0] = heap[len(heap)-1]
		heap = heap[:len(heap)-1]
		b.groups[group] = heap
	}
	b.sink(heap, 0)
}

func (b *batch) sink(heap []int32, at int) {
	for {
		child := 2*at + 1
		if child >= len(heap) {
			return
		}
		if child+1 < len(heap) && b.above(heap[child+1], heap[child]) {
			child++
		}
		if !b.above(heap[child], heap[at]) {
			return
		}
		heap[child], heap[at] = heap[at], heap[child]
		at = child
	}
}
