package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"edgespawner/fleet"
)

// runRemove takes a service away: it is marked first, so that a restart goes on
// with it; then its route goes, its requests end, and its containers go.
func (e *Engine) runRemove(run *jobRun, a *actor) error {
	if err := e.markRemoving(run.ctx, a); err != nil {
		return err
	}
	replicas, err := e.takeOffEdge(run, a)
	if err != nil {
		return err
	}
	err = abreast(run, replicas, (*replica).where, func(r *replica) error {
		if !e.members.answers(r.node) {
			run.warn("what %s has on node %s is removed when that node answers", r.name(), r.node)
			r.abandon()
			return nil
		}
		return run.step("remove", r.name(), func(ctx context.Context) (string, error) { return "", r.orderAndWait(ctx, wantGone) })
	})
	if err != nil {
		return err
	}
	if run.copy().Force {
		if err := e.removeVolumes(run, e.accepted.get(a.name)); err != nil {
			return err
		}
	}
	e.accepting.Lock() // a deploy of the same name meets all of the old service, or nothing
	defer e.accepting.Unlock()
	if err := e.services.Delete(run.ctx, a.name); err != nil && fleet.KindOf(err) != fleet.NotFound {
		return fmt.Errorf("cannot delete %s from the store: %w", a.name, err)
	}
	e.accepted.drop(a.name)
	a.post(func() { a.replicas, a.extra, a.gone = nil, nil, true })
	e.forgetActor(a)
	return nil
}

// abandon forgets the containers of a replica whose node does not answer. When it
// does they are foundlings; until then their addresses stay theirs.
func (r *replica) abandon() {
	v := r.look()
	r.engine.ledger.release(r.place)
	r.engine.standings.change(fleet.Standing{Node: r.node, AppName: v.app.name}, false)
	r.engine.names.release(r.node, v.app.name)
	if r.engine.sandboxes.leave(v.sandbox.id, r) {
		r.engine.names.release(r.node, v.sandbox.name)
	}
	r.engine.networks.abandon(r)
}

func (e *Engine) markRemoving(ctx context.Context, a *actor) error {
	var desired fleet.Desired
	err := a.call(ctx, func() {
		a.removing = true
		a.desired.Removing = true
		desired = a.desired
		a.stopWatching()
		a.stopIdleTimer()
		a.answerAll(answer{err: errRemoved})
	})
	if err != nil {
		return err
	}
	e.saver.forget(a.name)
	if err := e.services.Save(ctx, desired); err != nil {
		return fmt.Errorf("cannot store that %s is being removed: %w", a.name, err)
	}
	return nil
}

// takeOffEdge takes the route away and waits for the requests in flight.
func (e *Engine) takeOffEdge(run *jobRun, a *actor) ([]*replica, error) {
	var replicas []*replica
	err := a.call(run.ctx, func() { replicas = slices.Concat(a.replicas, a.extra) })
	if err != nil {
		return nil, err
	}
	version := e.board.drop(a.name)
	err = run.step("confirm", "", func(ctx context.Context) (string, error) {
		c, err := e.router.Confirmed(ctx, version)
		return confirmed(c), err
	})
	if err != nil {
		return nil, err
	}
	err = run.step("drain", "", func(ctx context.Context) (string, error) { return e.drainAll(ctx, replicas) })
	return replicas, err
}

// drainAll waits for all of them at a time, and tells what kept it from the first that something did.
func (e *Engine) drainAll(ctx context.Context, replicas []*replica) (string, error) {
	details, errs := make([]string, len(replicas)), make([]error, len(replicas))
	var group sync.WaitGroup
	for i, r := range replicas {
		if e.members.answers(r.node) {
			group.Go(func() { details[i], errs[i] = e.drain(ctx, r) })
		}
	}
	group.Wait()
	return cmp.Or(details...), cmp.Or(errs...)
}
