package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/scheduler"
)

// nodeList is the scheduler's picture of the nodes.
func (e *Engine) nodeList() []scheduler.Node {
	members, now := e.members.list(), time.Now()
	list := make([]scheduler.Node, 0, len(members))
	for _, m := range members {
		if m.isRemoved() {
			continue // with the volumes that are there
		}
		n := m.look()
		stock := m.inStock()
		closed := m.closed(now)
		if why := n.SwarmWaits(); closed == "" && why != "" && e.members.share() {
			closed = cannotShare(why)
		}
		list = append(list, scheduler.Node{
			Name: n.Name, Labels: n.Labels, Platform: n.Platform, Closed: closed, CPUShares: n.CPUs * 1024, MemoryMB: int(n.MemoryMB),
			Images: stock.Images, Volumes: stock.Volumes, Ports: stock.Ports,
		})
	}
	return list
}

// lookForPlace says where a replica of a service stands, or would be placed.
func (e *Engine) lookForPlace(spec *fleet.Spec) (node string, err error) {
	if node := e.ledger.stands(spec.Name, e.members.answers); node != "" {
		return node, nil
	}
	spots, err := orFull(e.nodeList(), func(nodes []scheduler.Node) ([]spot, error) {
		return e.ledger.look(nodes, []seat{{spec: spec, index: -1}})
	})
	if err != nil {
		return "", err
	}
	return spots[0].node, nil
}

// placeSomewhere holds a place for a replica of which nothing was found. While a
// node does not answer and nothing fits it stands there: nothing is started there
// now, and it is placed anew when that is down. Else the error says why it has no
// place, unless it has to stand somewhere: its start says what is wrong then.
func (e *Engine) placeSomewhere(spec *fleet.Spec, index int, must bool) (*claim, error) {
	list, err := e.ledger.place(e.nodeList(), []seat{{spec: spec, index: index}})
	if err == nil {
		return list[0].claim, nil
	}
	names := e.nodeNames()
	if last := names[len(names)-1]; !e.members.answers(last) {
		return e.ledger.hold(last, spec, index), nil
	}
	if !must {
		return nil, err
	}
	return e.ledger.hold(names[0], spec, index), nil
}

// places are those of the replicas that a rollout is going to make, held from
// before its first change, so that no other takes them and none begins that
// cannot be finished.
type places struct {
	ledger *ledger

	mu    sync.Mutex
	of    map[int]*claim            // by index
	tried map[int]map[string]string // by index: the nodes where it could not be made, and why
}

// reserve holds a place for each replica that a plan makes, and says in the plan
// which of them hold the host ports of their nodes, and which must wait until
// the one before has ended. The error says why one cannot be placed, and then no
// place is held.
func (e *Engine) reserve(stand []standing, changes []change, print *blueprint, want int) (*places, error) {
	nodes := e.nodeList()
	seats, which := seatsOf(changes, print, nodes)
	p := &places{ledger: e.ledger, of: map[int]*claim{}, tried: map[int]map[string]string{}}
	if len(seats) == 0 {
		return p, nil
	}
	list, err := orFull(nodes, func(nodes []scheduler.Node) ([]placed, error) { return e.ledger.place(nodes, seats) })
	if err != nil {
		return nil, err
	}
	holder := publishers(stand, want)
	for i, c := range which {
		p.of[c.index] = list[i].claim
		c.placed(list[i].claim.node, holder, print)
		c.stopFirst = c.stopFirst || list[i].stopFirst
	}
	return p, nil
}

// fewPlaces is how many replicas are named with their places.
const fewPlaces = 8

// String names the places, by the index of their replicas.
func (p *places) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	indexes := slices.Sorted(maps.Keys(p.of))
	var parts []string
	for _, index := range indexes[:min(fewPlaces, len(indexes))] {
		parts = append(parts, fmt.Sprintf("%s on %s", fleet.ReplicaName(p.of[index].demand.Service, index), p.of[index].node))
	}
	text := strings.Join(parts, ", ")
	if more := len(indexes) - len(parts); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// tellPlaces lets the step that looked for a place say which each replica has.
func (j *jobRun) tellPlaces(p *places) {
	if len(p.of) < 2 {
		return
	}
	text, told := p.String(), false
	j.change(func(job *fleet.Job) {
		for i := range job.Steps {
			if job.Steps[i].Verb == "place" {
				job.Steps[i].Detail, told = text, true
			}
		}
	})
	if told {
		j.engine.record(fleet.Event{Type: fleet.EventStep, Service: j.service, Message: fmt.Sprintf("placed %s: %s", j.subject, text), By: j.job.By})
	}
}

// foresee is reserve for a plan that is only told: it holds no place.
func (e *Engine) foresee(stand []standing, changes []change, print *blueprint, want int) error {
	nodes := e.nodeList()
	seats, which := seatsOf(changes, print, nodes)
	spots, err := orFull(nodes, func(nodes []scheduler.Node) ([]spot, error) { return e.ledger.look(nodes, seats) })
	if err != nil {
		return err
	}
	holder := publishers(stand, want)
	for i, c := range which {
		c.placed(spots[i].node, holder, print)
		c.to, c.stopFirst = spots[i].node, c.stopFirst || spots[i].stopFirst
	}
	return nil
}

// seatsOf are what the replicas that a plan makes ask for, and their changes.
func seatsOf(changes []change, print *blueprint, nodes []scheduler.Node) (seats []seat, which []*change) {
	for i := range changes {
		c := &changes[i]
		if (c.kind == changeCreate || c.kind == changeReplace) && !c.made {
			seats = append(seats, seat{spec: print.spec, platforms: platforms(print.image), index: c.index, from: c.node, to: c.to, fixed: c.inPlace && takesReplicas(nodes, c.node)})
			which = append(which, c)
		}
	}
	return seats, which
}

// notePlaced keeps why replicas could not be placed, for who asks why.
func (a *actor) notePlaced(err error) {
	a.unplaced = ""
	if err != nil {
		a.unplaced = err.Error()
	}
}

// takesReplicas says whether a node can be given something new.
func takesReplicas(nodes []scheduler.Node, name string) bool {
	return slices.ContainsFunc(nodes, func(n scheduler.Node) bool { return n.Name == name && n.Closed == "" })
}

// othersTakeReplicas says whether any other node can be given something new.
func (e *Engine) othersTakeReplicas(than string) bool {
	return slices.ContainsFunc(e.nodeList(), func(n scheduler.Node) bool { return n.Name != than && n.Closed == "" })
}

// node is where the place of a replica is; empty = it has none.
func (p *places) node(index int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if place, ok := p.of[index]; ok {
		return place.node
	}
	return ""
}

// nodes are where the places are.
func (p *places) nodes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	on := map[string]bool{}
	for _, place := range p.of {
		on[place.node] = true
	}
	return slices.Sorted(maps.Keys(on))
}

// take hands a place over to the replica that is made there.
func (p *places) take(index int) (*claim, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	place, ok := p.of[index]
	if !ok {
		return nil, errors.New("no place is held for it")
	}
	delete(p.of, index)
	return place, nil
}

// release gives up what was not taken.
func (p *places) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for index, place := range p.of {
		p.ledger.release(place)
		delete(p.of, index)
	}
}
