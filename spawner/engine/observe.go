package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// reconcilePeriod is how often each node is listed although nothing was told:
// what a lost notice hid is found by then.
const reconcilePeriod = 30 * time.Second

// follow keeps up with a node until ctx ends: its notices, and a list after
// each connection and each reconcilePeriod, and sooner while there may be foundlings:
// after the start, and when one was seen.
func (e *Engine) follow(ctx context.Context, node string, notices <-chan fleet.Notice) {
	tick := time.NewTicker(reconcilePeriod)
	defer tick.Stop()
	soon := time.NewTimer(foundlingPause)
	defer soon.Stop()
	for {
		again := false
		select {
		case notice, ok := <-notices:
			if !ok {
				return
			}
			again = e.notice(ctx, notice)
		case <-tick.C:
			again = e.reconcile(ctx, node)
		case <-soon.C:
			again = e.reconcile(ctx, node)
		}
		if again {
			soon.Reset(foundlingPause)
		}
	}
}

// notice takes one; again is that of reconcile.
func (e *Engine) notice(ctx context.Context, n fleet.Notice) (again bool) {
	switch n.Action {
	case fleet.NoticeConnected:
		e.record(fleet.Event{Type: fleet.EventNode, NodeID: n.Node, Message: fmt.Sprintf("Node %s is connected", n.Node)})
		return e.reconcile(ctx, n.Node)
	case fleet.NoticeLost:
		e.record(fleet.Event{Type: fleet.EventNode, NodeID: n.Node, Message: fmt.Sprintf("Node %s cannot be reached: %s", n.Node, n.Err)})
		return false
	}
	a, ok := e.actor(n.Labels[fleet.LabelService])
	if !ok {
		return false
	}
	a.post(func() {
		for _, r := range slices.Concat(a.replicas, a.extra) {
			switch v := r.look(); n.ID {
			case v.app.id:
				a.appNotice(r, n)
			case v.sandbox.id:
				a.sandboxNotice(r, n)
			}
		}
	})
	return false
}

func (a *actor) appNotice(r *replica, n fleet.Notice) {
	switch n.Action {
	case fleet.NoticeDied:
		r.noticeDied(n)
	case fleet.NoticeHealth:
		if slices.Contains(a.replicas, r) {
			a.noticeHealth(r, n.Health)
		}
	case fleet.NoticeStarted:
		a.startedByHand(r)
	case fleet.NoticePaused:
		a.pausedByHand(r)
	case fleet.NoticeOOM:
		a.engine.record(fleet.Event{Type: fleet.EventExit, Service: a.name, Container: r.name(), NodeID: r.node,
			Message: fmt.Sprintf("%s ran out of memory", r.name())})
	}
}

// startedByHand takes an app that somebody else started as a wake.
func (a *actor) startedByHand(r *replica) {
	v := r.look()
	if v.state != stateDown || v.want == wantUp || a.power != powerAsleep || !slices.Contains(a.replicas, r) {
		return
	}
	a.noteWake(r.name() + " was started by hand")
	a.transition(eventRequest)
}

// pausedByHand lets an app go on that somebody else paused: clients wait in it.
// The notice may be a late one of our own pause, so the engine is asked.
func (a *actor) pausedByHand(r *replica) {
	serves := func() bool {
		v := r.look()
		return v.want == wantUp && v.state == stateReady && slices.Contains(a.replicas, r)
	}
	if !serves() {
		return
	}
	a.engine.group.Go(func() {
		ctx, cancel := a.engine.background(callTimeout)
		defer cancel()
		c, err := a.engine.containers.Inspect(ctx, r.node, r.look().app.id)
		if err != nil || c.Status != fleet.ContainerPaused {
			return
		}
		a.post(func() {
			if !serves() {
				return
			}
			a.engine.record(fleet.Event{Type: fleet.EventWarning, Service: a.name, Container: r.name(), NodeID: r.node,
				Message: fmt.Sprintf("%s was paused by hand; it goes on", r.name())})
			r.setState(statePaused)
			a.publish()
			r.order(wantUp)
		})
	})
}

// sandboxNotice finds apps that run in a network which is not there any more:
// "Up (healthy)" to the engine, and unreachable.
func (a *actor) sandboxNotice(r *replica, n fleet.Notice) {
	switch n.Action {
	case fleet.NoticeDied, fleet.NoticeRemoved:
		r.mu.Lock()
		r.sandbox.running = false
		ready := r.state == stateReady
		r.mu.Unlock()
		if ready {
			a.recycle(r, "its sandbox ended")
		}
	case fleet.NoticeStarted:
		v := r.look()
		r.mu.Lock()
		began, ready := r.startedAt, r.state == stateReady
		r.sandbox.running = true
		r.anew = r.anew || r.state == statePaused
		r.mu.Unlock()
		if ready && v.want == wantUp && !began.IsZero() && n.Time.After(began) {
			a.recycle(r, "its sandbox was restarted")
		}
	}
}

// recycle stops and starts a replica that runs and cannot serve.
func (a *actor) recycle(r *replica, reason string) {
	a.engine.record(fleet.Event{Type: fleet.EventRestart, Service: a.name, Container: r.name(), NodeID: r.node,
		Message: fmt.Sprintf("Restarting %s: %s", r.name(), reason)})
	r.stopWatchingHealth()
	r.setState(stateUnhealthy)
	a.publish()
	r.orderAnew()
}

// reconcile compares what this process believes of a node with what the node
// says, and puts right what differs. An engine that does not answer changes nothing.
// Again asks for another look soon.
func (e *Engine) reconcile(ctx context.Context, node string) (again bool) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := e.containers.List(ctx, node)
	if err != nil {
		e.log.Warn("Cannot list a node", "node", node, "error", err)
		return false
	}
	found := make(map[string]fleet.Container, len(list))
	for _, c := range list {
		found[c.ID] = c
	}
	for _, a := range e.actorList() {
		a.post(func() { a.compare(node, found, began) })
	}
	if err := e.networks.attendAgain(ctx, node); err != nil {
		e.log.Warn("Cannot bring the edges onto a network", "node", node, "error", err)
	}
	return e.clearFoundlings(ctx, node, found)
}

// compare looks for replicas whose app ended, or runs, without a notice. What
// has changed since the list was asked for is left for the next time.
func (a *actor) compare(node string, found map[string]fleet.Container, asked time.Time) {
	a.sweep()
	for _, r := range a.replicas {
		v := r.look()
		if r.node != node || v.readyAt.After(asked) || v.app.id == "" {
			continue
		}
		app, there := found[v.app.id]
		sandbox := found[v.sandbox.id]
		switch {
		case (v.state == stateReady || v.state == stateUnhealthy) && (!there || app.Status == fleet.ContainerExited || app.Status == fleet.ContainerDead):
			r.noticeDied(fleet.Notice{Node: node, Time: asked, Exit: app.ExitCode})
		case v.state == stateReady && app.Status == fleet.ContainerRunning && sandbox.Status != fleet.ContainerRunning:
			a.recycle(r, "its sandbox is down")
		case v.state == stateReady && app.Status == fleet.ContainerPaused:
			a.pausedByHand(r)
		case v.state == stateDown && app.Status == fleet.ContainerRunning:
			a.startedByHand(r)
		}
	}
}
