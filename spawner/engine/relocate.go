package engine

import (
	"slices"

	"edgespawner/fleet"
)

// nodeIs takes a new state of a node whose engine does not answer.
func (a *actor) nodeIs(node string, state fleet.NodeState) {
	if a.setLost(node, offTheEdge(state)) {
		a.publish()
	}
	if state == fleet.NodeDown {
		a.relocate(node)
	}
}

// nodeAnswers takes a node up whose engine answers again, after what runs there was looked at.
func (a *actor) nodeAnswers(node string, before fleet.NodeState) {
	changed := a.setLost(node, false)
	for _, r := range a.replicas {
		if r.node == node && before != fleet.NodeReady && r.care.watched { // what its checks told meanwhile counted for nothing
			r.watchHealth()
		}
	}
	if changed {
		a.becameReady(a.power == powerAsleep)
	}
	a.sweep()
}

// setLost notes on the replicas of a node whether they are lost with it.
func (a *actor) setLost(node string, lost bool) (changed bool) {
	for _, r := range slices.Concat(a.replicas, a.extra) {
		if r.node == node && r.setLost(lost) {
			changed = true
		}
	}
	return changed
}

func (r *replica) setLost(lost bool) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.lost != lost
	r.lost = lost
	return changed
}

// relocateLost places elsewhere what stands on nodes that are down.
func (a *actor) relocateLost() {
	down := map[string]bool{}
	for _, r := range a.replicas {
		if m, ok := a.engine.members.get(r.node); ok && m.look().State == fleet.NodeDown {
			down[r.node] = true
		}
	}
	for node := range down {
		a.relocate(node)
	}
}

// relocate puts others in the place of the replicas of a node that is down,
// wherever they fit. While a job runs that is left to its end.
func (a *actor) relocate(node string) {
	if a.job != nil || a.removing || a.engine.Frozen() != "" {
		return
	}
	for _, r := range slices.Clone(a.replicas) {
		if r.node == node && !a.stays(r, "node "+node+" is down") {
			_ = a.move(r, "node "+node+" is down") // it has told why it has no place
		}
	}
}

// stays says whether a replica stays on its node whatever becomes of that: one
// that writes to volumes is nowhere else what it is there.
func (a *actor) stays(r *replica, why string) bool {
	if r.print.spec.WritesVolumes() {
		a.tellStuck(r, why, "its volumes are there: node rm --force gives them up")
		return true
	}
	return false
}

// leaveNode places elsewhere what stands on a node and returns what is left
// there, which the service does not know any more. By force that is done with
// volumes too, and what fits nowhere loses its place.
func (a *actor) leaveNode(node string, force bool) (left []*replica, err error) {
	for _, r := range slices.Clone(a.replicas) {
		if r.node != node {
			continue
		}
		if !force && r.print.spec.WritesVolumes() {
			return nil, fleet.Errorf(fleet.Conflict, "node %s cannot be removed: %s and its volumes are there", node, r.name())
		}
		r.care.stuck = "" // that its node was down may have been told: this is another matter
		err := a.move(r, "node "+node+" is removed")
		if err != nil && !force {
			return nil, fleet.Errorf(fleet.Conflict, "node %s cannot be removed: %s", node, err)
		}
		if err != nil {
			a.losePlace(r, err)
		}
	}
	a.extra = slices.DeleteFunc(a.extra, func(r *replica) bool {
		if r.node == node {
			left = append(left, r)
		}
		return r.node == node
	})
	return left, nil
}

// losePlace lets a replica go that stands nowhere any more. Converge makes it anew
// when something fits; a service that has no other has failed until then.
func (a *actor) losePlace(r *replica, reason error) {
	a.notePlaced(reason)
	a.lacks = converging{}
	a.exchange(r, nil, a.power == powerAsleep)
	switch {
	case a.power == powerStopping || a.power == powerWanted:
		a.checkStopped()
	case len(a.replicas) == 0:
		a.failure = reason
		a.transition(eventGaveUp)
	case a.power == powerWaking && !a.anyOnTheWay():
		a.failure = reason
		a.transition(eventStartFailed)
	}
}

// standsNowhere says whether the service is to have replicas, and all of them have lost their places.
func (a *actor) standsNowhere() bool {
	return a.print != nil && len(a.replicas) == 0 && a.desired.Replicas > 0 && a.job == nil
}

// fitsNow says whether a replica that is missing would find a place now, and keeps why not.
func (a *actor) fitsNow() bool {
	_, err := a.engine.ledger.look(a.engine.nodeList(), []seat{{spec: a.print.spec, platforms: platforms(a.print.image), index: -1}})
	if err == nil {
		return true // the job that makes it says whether it was placed
	}
	a.notePlaced(err)
	if a.power == powerFailed {
		a.failure = err
	}
	return false
}

// placeHomeless lets what has lost its place look for one: no look at a node leads
// to a service that stands on none.
func (e *Engine) placeHomeless() {
	for _, a := range e.actorList() {
		a.post(func() {
			if a.unplaced != "" || a.standsNowhere() {
				a.converge()
			}
		})
	}
}

// move puts a replica elsewhere whose node cannot be asked for anything; what
// is left of it there is removed when that answers. The error says why there is no place.
func (a *actor) move(r *replica, why string) error {
	list, err := a.engine.ledger.place(a.engine.nodeList(), []seat{{spec: r.print.spec, platforms: platforms(r.print.image), index: r.index, from: r.node}})
	if err != nil {
		a.tellStuck(r, why, err.Error())
		return err
	}
	place := list[0].claim
	publish := r.print.publishes() && !publishesOn(place.node, a.replicas)
	fresh := a.engine.newReplica(a, r.index, place, r.print, publish)
	a.engine.group.Go(func() { fresh.drive(a.engine.life) })
	a.record(fleet.EventNode, r, "Placing %s on node %s: %s", r.name(), place.node, why)
	a.exchange(r, fresh, a.power == powerAsleep)
	if a.power == powerAwake || a.power == powerWaking || a.power == powerDraining {
		a.orderUp(fresh)
	}
	return nil
}

// leaveSilentNodes lets a service that wakes go elsewhere when none of the nodes
// that its replicas sleep on answers.
func (a *actor) leaveSilentNodes() {
	if a.job != nil || a.engine.Frozen() != "" {
		return
	}
	for _, r := range a.replicas {
		if a.engine.members.answers(r.node) || r.look().runs() {
			return
		}
	}
	for _, r := range slices.Clone(a.replicas) {
		if why := "it is asked for and node " + r.node + " does not answer"; !a.stays(r, why) {
			_ = a.move(r, why) // it has told why it has no place
		}
	}
}

// tellStuck says once that a replica cannot be placed elsewhere.
func (a *actor) tellStuck(r *replica, why, reason string) {
	if r.care.stuck == reason {
		return
	}
	r.care.stuck = reason
	a.record(fleet.EventWarning, r, "%s cannot be placed elsewhere although %s: %s", r.name(), why, reason)
}
