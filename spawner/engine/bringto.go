package engine

import (
	"context"
	"fmt"
	"time"

	"edgespawner/fleet"
)

const certifyTimeout = 30 * time.Second

// bringTo brings a service to want replicas of a blueprint. When that fails, the
// revision in service serves as before.
func (e *Engine) bringTo(run *jobRun, a *actor, print *blueprint, want int, force bool) error {
	o := &rollout{engine: e, actor: a, run: run, job: run.id, ctx: run.ctx, print: print, want: want, force: force}
	return o.bring(func(stand []standing) []change { return plan(stand, want, print, false) })
}

// bring carries out the plan for what stands then.
func (o *rollout) bring(plan func(stand []standing) []change) error {
	e, a, run := o.engine, o.actor, o.run
	if _, err := a.awaitPower(run.ctx, nil, power.settled); err != nil {
		return err
	}
	var strays []*replica
	err := a.call(run.ctx, func() {
		strays, o.made = a.leftOver(run.id, o.print)
		o.asleep = a.print != nil && a.sleeps()
	})
	if err != nil {
		return err
	}
	if len(strays) > 0 { // of a rollout that the end of a process cut off
		o.clear(strays)
	}
	var stand []standing
	if err := a.call(run.ctx, func() { stand = a.standFor(run.id, o.force) }); err != nil {
		return err
	}
	changes := plan(stand)
	o.goOnWith(changes, stand)
	e.takeStockFor(run.ctx, o.print.spec)
	places, err := e.reserve(stand, changes, o.print, o.want)
	a.post(func() { a.notePlaced(err) })
	if err != nil {
		return err
	}
	defer places.release()
	o.places = places
	run.tellPlaces(places)
	if err := o.bringImages(); err != nil {
		o.failed(err)
		return err
	}
	if err := o.roll(changes); err != nil {
		return err
	}
	edges, err := o.present()
	if err == nil {
		err = o.commit()
	}
	if err != nil {
		o.failed(err)
		return err
	}
	return o.finish(edges)
}

// bringImages brings the image to the nodes that are to get a replica and lack it:
// from its registry to all of them at a time, and else to one after another, since
// it comes over the link of the node that has it.
func (o *rollout) bringImages() error {
	bring := func(node string) error {
		there := false
		err := o.engine.whileAnswers(o.ctx, node, func(ctx context.Context) (err error) {
			there, err = o.engine.hasImage(ctx, node, o.print)
			return err
		})
		if there && err == nil {
			return nil // else the step brings it, or says what is wrong
		}
		return o.step("pull", "", func(ctx context.Context) (string, error) {
			err := o.engine.whileAnswers(ctx, node, func(ctx context.Context) error {
				return o.engine.bringImage(ctx, node, o.print)
			})
			if fault := o.engine.faultOf(node, err); fault != "" && o.engine.othersTakeReplicas(node) {
				return fmt.Sprintf("not on node %s: %s", node, fault), nil // what was to come there is placed elsewhere, or says why not
			}
			return onNode(node), err
		})
	}
	nodes := o.places.nodes()
	if o.print.image.Digest != "" {
		return letGo(o, nodes, func(node string) string { return node }, bring)
	}
	for _, node := range nodes {
		if err := bring(node); err != nil {
			return err
		}
	}
	return nil
}

// sleeps says whether the service is asleep by choice, and is to be so after a deploy.
func (a *actor) sleeps() bool {
	return a.power == powerAsleep && a.desired.Power != fleet.PowerStopped && a.desired.Replicas > 0
}

// clear removes what a rollout left behind, once no edge sends anything there.
func (o *rollout) clear(strays []*replica) {
	err := o.confirm("")
	for _, stray := range strays {
		if err == nil {
			_, err = o.engine.drain(o.ctx, stray)
		}
		if err == nil {
			err = o.discard(stray)
		}
	}
	if err != nil {
		o.run.warn("what an earlier rollout left could not be removed: %s", err)
	}
}

// present tells the edges of the new revision and waits until they have taken
// it. They are the last that can say no: when they do, they are told of the old one again.
func (o *rollout) present() (edges int, err error) {
	a := o.actor
	var before *blueprint
	err = a.call(o.engine.life, func() {
		before = a.print
		a.print = o.print
		a.becameReady(o.asleep)
	})
	if err != nil {
		return 0, err
	}
	o.unpresent = func() {
		a.print = before
		a.publish()
	}
	err = o.confirmCounting("", &edges)
	return edges, err
}

// commit makes the blueprint the one in service, whatever happens from now on.
func (o *rollout) commit() error {
	var desired fleet.Desired
	err := o.actor.call(o.engine.life, func() { desired = o.committed() })
	if err != nil {
		return err
	}
	ctx, cancel := o.engine.background(storeTimeout)
	defer cancel()
	o.engine.saver.forget(o.actor.name)
	if err := o.engine.services.Save(ctx, desired); err != nil {
		return fmt.Errorf("cannot store the revision in service: %w", err)
	}
	o.engine.standsFor(o.print.spec)
	return o.actor.call(o.engine.life, func() {
		a := o.actor
		a.desired, a.newest = o.committed(), o.print.spec
		if len(a.replicas) == 0 {
			a.atRest()
		}
		a.desired.Power = a.power.desired(a.depth)
		a.engine.saver.save(a.desired) // it may have been stored as it was before, since we stored it
		if a.power == powerAwake {
			a.awakeAt = time.Now()
		}
		a.publish()
	})
}

// committed is the desired state with what this rollout makes of it.
func (o *rollout) committed() fleet.Desired {
	desired := o.actor.desired
	desired.Revision, desired.Replicas, desired.ChangedAt = o.print.revision, o.want, time.Now().UTC()
	return desired
}

// atRest makes a service without replicas asleep.
func (a *actor) atRest() {
	a.answerAll(answer{err: a.scaledToNone()})
	if a.power != powerAsleep {
		a.power = powerAsleep
		a.tellWatchers()
	}
}

func (a *actor) scaledToNone() error {
	return fleet.Errorf(fleet.Unavailable, "%s is scaled to 0 replicas", a.name)
}

// finish removes what was replaced, and lets a service that slept sleep again.
func (o *rollout) finish(edges int) error {
	if edges == 0 && o.print.spec.Route != nil {
		o.run.warn("no edge is connected: nobody can reach it yet")
	}
	var old []*replica
	err := o.actor.call(o.engine.life, func() {
		old = o.actor.reachable(o.actor.extra)
		if o.actor.power == powerAsleep {
			o.actor.stopWatching()
			for _, r := range o.actor.replicas {
				r.order(o.actor.sleepWant())
			}
		}
	})
	if err != nil {
		return err
	}
	err = abreast(o.run, old, (*replica).where, func(r *replica) error {
		err := o.run.stepWith(o.engine.life, "remove", r.name(), func(context.Context) (string, error) { return "", o.discard(r) })
		if err != nil && o.engine.life.Err() == nil {
			o.run.warn("what was replaced could not be removed yet: %s", err)
		}
		return nil // the others are removed all the same
	})
	if err != nil {
		return err
	}
	o.certify()
	return nil
}

// certify waits for the certificates of a new revision with TLS, and says so when there are none yet.
func (o *rollout) certify() {
	route := o.print.spec.Route
	brought := o.run.kind() == fleet.JobDeploy || o.run.kind() == fleet.JobRollback
	if !brought || route == nil || !route.TLS || o.want == 0 {
		return
	}
	err := o.run.step("certify", "", func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, certifyTimeout)
		defer cancel()
		return "", o.engine.router.Certified(ctx, route.Hosts)
	})
	if err != nil {
		o.run.warn("no certificate yet: %s", err)
	}
}

// stand describes the replicas that serve, for a plan.
func (a *actor) stand() []standing {
	list := make([]standing, 0, len(a.replicas))
	for _, r := range a.replicas {
		list = append(list, standing{index: r.index, hash: r.print.hash, sandbox: sandboxShape(r.print.spec), publish: r.publishes(), node: r.node})
	}
	return list
}
