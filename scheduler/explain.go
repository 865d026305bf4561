package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"edgespawner/fleet"
)

// Unplaceable says why no node takes a replica.
type Unplaceable struct {
	Reasons []Reason // most frequent first; together they cover every node
}

// Reason is what rules out some of the nodes.
type Reason struct {
	Nodes int
	Text  string
}

func (u *Unplaceable) Error() string {
	if len(u.Reasons) == 0 {
		return "there is no node"
	}
	parts := make([]string, len(u.Reasons))
	for i, r := range u.Reasons {
		parts[i] = fleet.Counted(r.Nodes, "node") + ": " + r.Text
	}
	return strings.Join(parts, "; ")
}

// explain says of every node what it fails. Nodes that are short of the same
// thing are one reason, whatever they are short by.
func (c *Cluster) explain(a *ask) *Unplaceable {
	counts := map[string]int{}
	var cpu, memory shortage
	for i := range int32(len(c.nodes)) {
		switch v := c.judge(a, i); v {
		case shortOfCPU:
			cpu.add(int64(a.demand.CPUShares) - c.states[i].freeCPU)
		case shortOfMemory:
			memory.add(int64(a.demand.MemoryMB) - c.states[i].freeMemory)
		default:
			counts[c.reason(a, v, i)]++
		}
	}
	var list []Reason
	for text, nodes := range counts {
		list = append(list, Reason{nodes, text})
	}
	if cpu.nodes > 0 {
		unit := " CPUs short"
		if cpu.text(cpus) == "1" {
			unit = " CPU short"
		}
		list = append(list, Reason{cpu.nodes, cpu.text(cpus) + unit})
	}
	if memory.nodes > 0 {
		list = append(list, Reason{memory.nodes, memory.text(decimal) + " MB short"})
	}
	slices.SortFunc(list, func(x, y Reason) int {
		return cmp.Or(cmp.Compare(y.Nodes, x.Nodes), strings.Compare(x.Text, y.Text))
	})
	return &Unplaceable{list}
}

// shortage is by how much nodes are short of something.
type shortage struct {
	nodes       int
	least, most int64
}

func (s *shortage) add(by int64) {
	if s.nodes == 0 || by < s.least {
		s.least = by
	}
	s.most = max(s.most, by)
	s.nodes++
}

func (s *shortage) text(write func(int64) string) string {
	least, most := write(s.least), write(s.most)
	if least == most {
		return least
	}
	return least + " to " + most
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// cpus writes shares as CPUs, to a hundredth: a share is a 1024th, so what people
// give in tenths is no whole number of them. Some are never written as none.
func cpus(shares int64) string {
	hundredths := (shares*100 + 512) / 1024
	return strconv.FormatFloat(float64(max(hundredths, 1))/100, 'f', -1, 64)
}

// reason says in words which filter a node fails.
func (c *Cluster) reason(a *ask, v verdict, i int32) string {
	switch v {
	case isClosed:
		return c.nodes[i].Closed
	case wrongPlatform:
		return fmt.Sprintf("%s, but the image is made for %s", c.nodes[i].Platform, strings.Join(a.demand.Platforms, " and "))
	case breaksConstraint:
		at := slices.IndexFunc(a.constraints, func(q condition) bool { return !q.holds(i) })
		return fmt.Sprintf("%s does not hold", strings.TrimSpace(string(a.constraints[at].text)))
	case lacksVolume:
		return c.whereVolumesAre(a, i)
	case portTaken:
		return c.whoHoldsPort(a, i)
	case shortOfCPU, shortOfMemory:
		return "more is reserved there than it has"
	case hasPeer:
		return fmt.Sprintf("a replica of %s is %s already", a.demand.Service, place(a.apart, i))
	case lacksLabel:
		return fmt.Sprintf("no label %s", a.missingLabel(i))
	case wouldSkew:
		return a.whatWouldSkew(i)
	}
	panic(fmt.Sprintf("a filter has no words: %d", v))
}

// place tells a rule's value of a node as a place.
func place(r *rule, i int32) string {
	value := r.column.values[r.column.ids[i]]
	if r.over == fleet.NodeName {
		return "there"
	}
	return fmt.Sprintf("in %s %s", r.over, value)
}

func (c *Cluster) whereVolumesAre(a *ask, i int32) string {
	for v, where := range a.volumes {
		if where == nil || where.has(i) {
			continue
		}
		var names []string
		for j := range int32(len(c.nodes)) {
			if where.has(j) {
				names = append(names, c.nodes[j].Name)
			}
		}
		return fmt.Sprintf("the volume %s is on %s", a.demand.Volumes[v].Name, someOf(names))
	}
	var names []string
	for j := range a.standing {
		names = append(names, c.nodes[j].Name)
	}
	slices.Sort(names)
	return fmt.Sprintf("%s writes to volumes on %s", a.demand.Service, someOf(names))
}

// someOf names the first few.
func someOf(names []string) string {
	const few = 3
	if len(names) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	}
	return strings.Join(names, ", ")
}

func (c *Cluster) whoHoldsPort(a *ask, i int32) string {
	for _, port := range a.ports {
		held := c.holderOf(i, port, a.demand.Service)
		switch {
		case held == nil:
		case held.holder == "":
			return fmt.Sprintf("host port %d is taken", port.HostPort)
		default:
			return fmt.Sprintf("host port %d is held by %s", port.HostPort, held.holder)
		}
	}
	panic("a port is taken by nobody")
}

// missingLabel returns the label of a required rule that a node has not.
func (a *ask) missingLabel(i int32) string {
	if a.apart != nil && a.apart.column.ids[i] == absent {
		return a.apart.over
	}
	at := slices.IndexFunc(a.spreads, func(r rule) bool { return r.skew > 0 && r.column.ids[i] == absent })
	return a.spreads[at].over
}

func (a *ask) whatWouldSkew(i int32) string {
	at := slices.IndexFunc(a.spreads, func(r rule) bool {
		return r.skew > 0 && r.counts[r.column.ids[i]]+1-r.floor > r.skew
	})
	r := &a.spreads[at]
	ahead := r.counts[r.column.ids[i]] + 1 - r.floor
	where := "it"
	if r.over != fleet.NodeName {
		where = r.over + " " + r.column.values[r.column.ids[i]]
	}
	return fmt.Sprintf("%s would be %d ahead in replicas, and the spread allows %d", where, ahead, r.skew)
}
