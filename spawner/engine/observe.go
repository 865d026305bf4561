package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// containerNotice hands what happened to a container to its service.
func (e *Engine) containerNotice(n fleet.Notice) {
	a, ok := e.actor(n.Labels[fleet.LabelService])
	if !ok {
		return
	}
	a.post(func() {
		for _, r := range slices.Concat(a.replicas, a.extra) {
			switch v := r.look(); {
			case r.node != n.Node:
			case n.ID == v.app.id:
				a.appNotice(r, n)
			case n.ID == v.sandbox.id:
				a.sandboxNotice(r, n)
			}
		}
	})
}

func (a *actor) appNotice(r *replica, n fleet.Notice) {
	switch n.Action {
	case fleet.NoticeDied:
		r.noticeDied(n)
	case fleet.NoticeHealth:
		if slices.Contains(a.replicas, r) {
			r.care.judgedAt = time.Now()
			a.noticeHealth(r, n.Health)
		}
	case fleet.NoticeStarted:
		r.care.suspended = false
		a.startedByHand(r)
	case fleet.NoticePaused:
		r.care.suspended = true
		a.pausedByHand(r)
	case fleet.NoticeUnpaused:
		r.care.suspended = false
		a.startedByHand(r)
	case fleet.NoticeUpdated:
		a.lookForDrift(r)
	case fleet.NoticeKilled:
		r.noticeKilled(n)
	case fleet.NoticeOOM:
		r.noticeOOM(n)
		a.record(fleet.EventExit, r, "%s ran out of memory", r.name())
	}
}

// startedByHand takes an app that somebody else started, or let go on, as a wake.
func (a *actor) startedByHand(r *replica) {
	sleeps := func() bool {
		v := r.look()
		sleeps := a.power == powerAsleep || a.power == powerFailed || a.power == powerAwake // the last: one that was given up, or ended
		rests := v.state == stateDown || v.state == statePaused
		return rests && v.want != wantUp && sleeps && slices.Contains(a.replicas, r)
	}
	a.ifReally(r, fleet.ContainerRunning, sleeps, func() {
		r.forgetLife()
		a.noteWake(r.name() + " was started by hand")
		if a.power == powerAwake {
			a.orderUp(r)
			return
		}
		a.transition(eventRequest)
	})
}

// forgetLife forgets when the app's life began: it is up, and whichever life that
// is, a start that finds it so has not met one that is ending.
func (r *replica) forgetLife() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.startedAt, r.lifeBefore = time.Time{}, time.Time{}
}

// pausedByHand lets an app go on that somebody else paused: clients wait in it.
func (a *actor) pausedByHand(r *replica) {
	up := func() bool {
		v := r.look()
		return v.want == wantUp && (v.state == stateReady || v.state == stateUnhealthy || v.state == stateStarting) && slices.Contains(a.replicas, r)
	}
	a.ifReally(r, fleet.ContainerPaused, up, func() {
		a.engine.record(fleet.Event{Type: fleet.EventWarning, Service: a.name, Container: r.name(), NodeID: r.node,
			Message: fmt.Sprintf("%s was paused by hand; it goes on", r.name())})
		if r.abortStart(fleet.Errorf(fleet.Conflict, "%s was paused by hand in its start", r.name())) {
			return // it is tried again, from what it is now
		}
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

// nodeIsBack tries again at once what failed because the node did not answer.
func (a *actor) nodeIsBack(node string) {
	for _, r := range a.replicas {
		v := r.look()
		if r.node != node {
			continue
		}
		r.care.suspended = v.state == statePaused
		a.lookForDrift(r)
		if v.state == stateDown && fleet.KindOf(v.lastError) == fleet.Unavailable && (a.power == powerAwake || a.power == powerWaking) {
			r.order(wantUp)
		}
	}
	if a.power == powerFailed && a.stalled {
		a.noteWake("its node " + node + " is back")
		a.transition(eventRequest)
	}
}

// verifyNetworks asks whether the serving apps on a node still run in the network
// of their sandbox: while nobody was told, one may have begun anew.
func (a *actor) verifyNetworks(node string) {
	for _, r := range a.replicas {
		if v := r.look(); r.node != node || v.want != wantUp || !v.runs() {
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
				if r.look().want == wantUp {
					a.lostNetwork(r, "its sandbox was restarted")
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
		r.mu.Unlock()
		a.lostNetwork(r, "its sandbox ended")
	case fleet.NoticeStarted:
		v := r.look()
		r.mu.Lock()
		began := r.startedAt
		r.sandbox.running = true
		r.anew = r.anew || r.state == statePaused
		r.mu.Unlock()
		if v.want == wantUp && v.state != stateStarting && !began.IsZero() && n.Time.After(began) {
			a.lostNetwork(r, "its sandbox was restarted")
		}
	}
}

// lostNetwork takes care of a replica whose app runs in the network of a sandbox
// that is not there any more, or is to be started into it.
func (a *actor) lostNetwork(r *replica, reason string) {
	if !slices.Contains(a.replicas, r) {
		return // its job finds out by itself
	}
	cause := &fleet.Error{Kind: fleet.Conflict, Field: fieldSandbox, Message: r.name() + " cannot be started: " + reason}
	if v := r.look(); !r.abortStart(cause) && (v.state == stateReady || v.state == stateUnhealthy) {
		a.cutOff = true
		a.recycle(r, reason)
	}
}

// abortStart lets a start under way fail, if there is one.
func (r *replica) abortStart(cause error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != stateStarting || r.abort == nil {
		return false
	}
	r.abort(cause)
	return true
}

// recycle stops and starts a replica that runs and cannot serve.
func (a *actor) recycle(r *replica, reason string) {
	a.engine.observer.Restarting(a.name, RestartCutOff)
	a.engine.record(fleet.Event{Type: fleet.EventRestart, Service: a.name, Container: r.name(), NodeID: r.node,
		Message: fmt.Sprintf("Restarting %s: %s", r.name(), reason)})
	r.care.restarted = true
	r.stopWatchingHealth()
	r.setState(stateUnhealthy)
	a.publish()
	r.orderAnew()
}

// reconcile compares what this process believes of a node with what the node
// says, and puts right what differs. An engine that does not answer changes nothing.
// Again asks for another look soon.
func (e *Engine) reconcile(ctx context.Context, node string) (again bool, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := e.containers.List(ctx, node)
	if err != nil {
		e.log.Warn("Cannot list a node", "node", node, "error", err)
		return false, fmt.Errorf("cannot list node %s: %w", node, err)
	}
	found := make(map[string]fleet.Container, len(list))
	for _, c := range list {
		found[c.ID] = c
	}
	for _, a := range e.actorsOn(node) {
		a.post(func() { a.compare(node, found, began) })
	}
	e.placeHomeless()
	if err := e.networks.attendAgain(ctx, node); err != nil {
		e.log.Warn("Cannot bring the edges onto a network", "node", node, "error", err)
	}
	return e.clearFoundlings(ctx, node, found), nil
}

// compare looks for replicas whose app ended, or runs, without a notice. What
// has changed since the list was asked for is left for the next time.
func (a *actor) compare(node string, found map[string]fleet.Container, asked time.Time) {
	a.sweep()
	a.converge()
	defer a.mend()
	for _, r := range a.replicas {
		v := r.look()
		if r.node != node || v.readyAt.After(asked) || v.app.id == "" {
			continue
		}
		app, there := found[v.app.id]
		sandbox := found[v.sandbox.id]
		switch {
		case v.lastError != nil && v.want != wantUp && a.job == nil && !r.startDue():
			r.order(v.want) // a stop that failed; starts have a back-off of their own
		case (v.state == stateReady || v.state == stateUnhealthy || v.state == stateStarting) && (!there || app.Status == fleet.ContainerExited || app.Status == fleet.ContainerDead):
			r.noticeDied(fleet.Notice{Node: node, Time: asked, Exit: app.ExitCode}) // without an action: nobody told
		case v.want == wantUp && v.runs() && app.Status == fleet.ContainerRunning && sandbox.Status != fleet.ContainerRunning:
			a.lostNetwork(r, "its sandbox is down")
		case v.want == wantUp && v.runs() && app.Status == fleet.ContainerPaused:
			a.pausedByHand(r)
		case (v.state == stateDown || v.state == statePaused) && app.Status == fleet.ContainerRunning:
			a.startedByHand(r)
		case app.Status == fleet.ContainerRunning && r.care.judgedAt.Before(asked):
			a.compareHealth(r, app.Health)
		}
	}
}
