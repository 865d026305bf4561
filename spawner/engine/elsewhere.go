package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
	"edgespawner/scheduler"
)

// What cannot be made where it was placed, for a reason of its node and not of
// the app, is placed elsewhere.

// fullPause is how long a node that has run out of something gets nothing new; then
// it is tried again.
const fullPause = 2 * time.Minute

// Why such a node is closed.
const (
	diskFull  = "its disk is full"
	portsGone = "no port of its --port-range is free"
)

// ranOut says whether a node is closed because it has run out of something.
func ranOut(closed string) bool { return closed == diskFull || closed == portsGone }

// noSpace is how an engine says ENOSPC, whatever it was about to write.
const noSpace = "no space left on device"

// faultOf says what is wrong with a node where something has failed; empty = the
// failure was not the node's. It takes note of what the node has run out of.
func (e *Engine) faultOf(node string, err error) string {
	var known *fleet.Error
	m, ok := e.members.get(node)
	switch {
	case err == nil || !ok:
		return ""
	case !e.members.answers(node):
		return "it does not answer"
	case strings.Contains(err.Error(), noSpace) && fleet.KindOf(err) != fleet.BadGateway: // not an app's own last words
		m.rest(diskFull, time.Now().Add(fullPause))
		return diskFull
	case !errors.As(err, &known):
		return ""
	case known.Field == fieldPortRange:
		m.rest(portsGone, time.Now().Add(fullPause))
		return portsGone
	case known.Field == fieldHostPort:
		return "its host port is taken"
	case known.Field == fieldNetworks && known.Kind == fleet.Unavailable:
		e.askOfSwarm(e.life, m) // what it said as it came back may not hold any more
		return "it cannot use the network that nodes share"
	}
	return ""
}

// misplaced is why a replica cannot be made where it was placed; another place is
// held for it. It hides what it wraps: the step is not tried again there.
type misplaced struct {
	err   error
	fault string
}

func (m *misplaced) Error() string { return m.err.Error() }

// blame turns a failure that is the node's into misplaced, where the replica fits
// elsewhere. What writes to volumes, or is to come to that very node, does not go elsewhere.
func (o *rollout) blame(c change, r *replica, err error) error {
	if c.to != "" || o.print.spec.WritesVolumes() || context.Cause(o.ctx) != nil {
		return err
	}
	fault := o.engine.faultOf(r.node, err)
	if fault == "" {
		return err
	}
	nodes := o.engine.nodeList()
	tried := o.places.failedOn(c.index, r.node, fault)
	for i, n := range nodes {
		if n.Closed == "" {
			nodes[i].Closed = tried[n.Name]
		}
	}
	s := seat{spec: o.print.spec, platforms: platforms(o.print.image), index: c.index, from: c.node}
	if o.places.replace(r.place, nodes, s) != nil {
		return err // which is what keeps it from being made
	}
	return &misplaced{err, fault}
}

// failedOn notes that a replica could not be made on a node, and returns on which it
// could not be, and why. A job goes to none of these a second time.
func (p *places) failedOn(index int, node, fault string) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tried[index] == nil {
		p.tried[index] = map[string]string{}
	}
	p.tried[index][node] = fault
	return maps.Clone(p.tried[index])
}

// replace holds another place for the replica of a claim, which holds what it
// has until that is gone.
func (p *places) replace(c *claim, nodes []scheduler.Node, s seat) error {
	place, err := p.ledger.replace(c, nodes, s)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of[c.index] = place
	return nil
}

// goElsewhere makes a replica at the place that is held for it, and leaves what
// there is of the one before to be removed.
func (o *rollout) goElsewhere(c change, before *replica, name string, m *misplaced) (*replica, error) {
	err := o.step("place", name, func(context.Context) (string, error) {
		return fmt.Sprintf("on node %s instead of node %s: %s", o.places.node(c.index), before.node, m.fault), nil
	})
	if err != nil {
		return nil, err
	}
	err = o.actor.call(o.engine.life, func() {
		before.job = "" // it is a stray from now on
		c.publish = o.print.publishes() && !publishesOn(o.places.node(c.index), slices.Concat(o.actor.replicas, o.actor.extra))
	})
	if err != nil {
		return nil, err
	}
	if err := o.discard(before); err != nil && o.engine.members.answers(before.node) {
		o.run.warn("what was begun on node %s could not be removed yet: %s", before.node, err)
	}
	return o.newReplica(c, nil)
}

// orFull looks for places, and where there are none also on nodes that are closed
// for what they ran out of alone: it may be there again, and who tries is told if not.
func orFull[T any](nodes []scheduler.Node, find func([]scheduler.Node) (T, error)) (T, error) {
	found, err := find(nodes)
	if err == nil {
		return found, nil
	}
	open := slices.Clone(nodes)
	for i := range open {
		if ranOut(open[i].Closed) {
			open[i].Closed = ""
		}
	}
	if again, stillNone := find(open); stillNone == nil {
		return again, nil
	}
	return found, err
}

// leaveFull places a replica elsewhere that could not be started because its node
// has run out of something, if it may go and fits anywhere.
func (a *actor) leaveFull(r *replica, err error) bool {
	fault := a.engine.faultOf(r.node, err)
	if !ranOut(fault) {
		return false
	}
	why := fmt.Sprintf("node %s cannot have it: %s", r.node, fault)
	if a.job != nil || a.removing || a.stays(r, why) || a.move(r, why) != nil {
		return false
	}
	a.sweep()
	return true
}
