package engine

import (
	"context"
	"errors"
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
		again = e.reconcile(ctx, n.Node)
		for _, a := range e.actorList() {
			a.post(func() { a.verifyNetworks(n.Node) })
		}
		return again
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
	sleeps := func() bool {
		v := r.look()
		return v.state == stateDown && v.want != wantUp && a.power == powerAsleep && slices.Contains(a.replicas, r)
	}
	a.ifReally(r, fleet.ContainerRunning, sleeps, func() {
		a.noteWake(r.name() + " was started by hand")
		a.transition(eventRequest)
	})
}

// pausedByHand lets an app go on that somebody else paused: clients wait in it.
func (a *actor) pausedByHand(r *replica) {
	serves := func() bool { return r.look().serves() && slices.Contains(a.replicas, r) }
	a.ifReally(r, fleet.ContainerPaused, serves, func() {
		a.engine.record(fleet.Event{Type: fleet.EventWarning, Service: a.name, Container: r.name(), NodeID: r.node,
			Message: fmt.Sprintf("%s was paused by hand; it goes on", r.name())})
		r.setState(statePaused)
		a.publish()
		r.order(wantUp)
	})
}

// ifReally calls then if the app is in that status now and we believe otherwise,
// before and after the engine was asked: a notice, or a list, may be a late one
// of what we did ourselves.
func (a *actor) ifReally(r *replica, status fleet.ContainerStatus, believed func() bool, then func()) {
	if !believed() {
		return
	}
	a.engine.group.Go(func() {
		ctx, cancel := a.engine.background(callTimeout)
		defer cancel()
		c, err := a.engine.containers.Inspect(ctx, r.node, r.look().app.id)
		if err != nil || c.Status != status {
			return
		}
		a.post(func() {
			if believed() {
				then()
			}
		})
	})
}

// verifyNetworks asks whether the serving apps on a node still run in the network
// of their sandbox: while nobody was told, one may have begun anew.
func (a *actor) verifyNetworks(node string) {
	for _, r := range a.replicas {
		if r.node != node || !r.look().serves() {
			continue
		}
		a.engine.group.Go(func() {
			ctx, cancel := a.engine.background(callTimeout)
			defer cancel()
			var e *fleet.Error
			if err := r.proveSandbox(ctx); !errors.As(err, &e) || e.Field != fieldSandbox {
				return // the list tells of one that is not there
			}
			a.post(func() {
				if r.look().serves() && slices.Contains(a.replicas, r) {
					a.recycle(r, "its sandbox was restarted")
				}
			})
		})
	}
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
		case v.lastError != nil && v.want != wantUp && a.job == nil:
			r.order(v.want) // a stop that failed; starts have a back-off of their own
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
