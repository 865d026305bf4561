package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

func (e *Engine) adoptService(ctx context.Context, desired fleet.Desired, found []pair, assumed []fleet.Standing) error {
	revisions, err := e.revisions.Revisions(ctx, desired.Name)
	if err != nil {
		return err
	}
	a := e.actorFor(desired)
	prints := map[int]*blueprint{}
	for _, p := range found {
		if prints[p.revision] == nil {
			prints[p.revision] = e.redraw(ctx, desired.Name, revisions, p)
		}
	}
	var inService *blueprint
	if desired.Revision != 0 {
		inService = prints[desired.Revision]
		if inService == nil {
			inService = e.redraw(ctx, desired.Name, revisions, pair{service: desired.Name, revision: desired.Revision})
		}
	}
	var replicas, unknown []*replica
	for _, p := range found {
		if print := prints[p.revision]; print != nil {
			r := e.adoptReplica(a, p, print)
			if p.app.ID != "" {
				a.noteDrift(r, differences(print, p.app)) // the actor has nothing to do yet
			}
			replicas = append(replicas, r)
			e.tellEndedMeanwhile(r, p.app, desired.Power)
		} else {
			unknown = append(unknown, e.adoptReplica(a, p, labelled(desired.Name, p)))
		}
	}
	for _, s := range assumed {
		if prints[s.Revision] == nil {
			prints[s.Revision] = e.redraw(ctx, desired.Name, revisions, pair{service: desired.Name, revision: s.Revision, hash: s.Hash})
		}
		if print := prints[s.Revision]; print != nil {
			replicas = append(replicas, e.assumeReplica(a, s, print, desired.Power))
		}
	}
	if len(revisions) > 0 {
		if from := stands(revisions, desired.Revision); inService != nil && from.Number == desired.Revision {
			e.accepted.set(inService.spec)
		} else {
			e.accepted.set(&from.Spec)
		}
	}
	return a.call(ctx, func() {
		a.print = inService
		if inService != nil {
			a.depth = inService.spec.Sleep.Mode
		}
		if len(revisions) > 0 {
			a.newest = &revisions[0].Spec
		}
		a.removing = desired.Removing
		a.extra = unknown
		a.settleIn(slices.Concat(replicas, e.missing(a, desired, inService, replicas)))
	})
}

// tellEndedMeanwhile records what nobody was there to see: an app that was to be
// awake and had ended when this process began. It is started again.
func (e *Engine) tellEndedMeanwhile(r *replica, app fleet.Container, wanted fleet.Power) {
	if wanted != fleet.PowerAwake || app.Status != fleet.ContainerExited && app.Status != fleet.ContainerDead {
		return
	}
	e.record(fleet.Event{Type: fleet.EventExit, Service: r.service, Container: r.name(), NodeID: r.node,
		Message: fmt.Sprintf("%s %s, while the spawner was away; it is started again", r.name(), r.look().lastExit)})
}

// stands returns the revision, of all newest first, that a service is changed
// from: the newest that is still to be rolled out, else the one in service.
func stands(revisions []fleet.Revision, inService int) *fleet.Revision {
	for i := range revisions {
		r := &revisions[i]
		if r.Number == inService || r.Number > inService && r.Outcome == fleet.OutcomePending {
			return r
		}
	}
	return &revisions[0]
}

// missing makes the replicas that are wanted and of which nothing was found, where
// they fit beside the others of the service; a wake makes their containers. What
// has no place is left out, but for the only one of a service that was awake, which
// has to be woken.
func (e *Engine) missing(a *actor, desired fleet.Desired, print *blueprint, found []*replica) []*replica {
	if print == nil || desired.Removing {
		return nil
	}
	there := map[int]bool{}
	publishing := map[string]bool{}
	for _, r := range found {
		there[r.index] = true
		publishing[r.node] = publishing[r.node] || r.publish
	}
	var list []*replica
	for index := range desired.Replicas {
		if there[index] {
			continue
		}
		place, err := e.placeSomewhere(print.spec, index, desired.Power == fleet.PowerAwake && len(found)+len(list) == 0)
		if err != nil {
			a.notePlaced(err)
			continue
		}
		publish := print.publishes() && !publishing[place.node]
		publishing[place.node] = publishing[place.node] || publish
		r := e.newReplica(a, index, place, print, publish)
		e.group.Go(func() { r.drive(e.life) })
		list = append(list, r)
		if desired.Power == fleet.PowerAwake {
			e.record(fleet.Event{Type: fleet.EventRestart, Service: a.name, Container: r.name(), NodeID: r.node,
				Message: fmt.Sprintf("%s was gone when the spawner began; it is made anew", r.name())})
		}
	}
	return list
}

// redraw makes the blueprint of a revision that was rolled out before; nil when
// nothing is known of it.
func (e *Engine) redraw(ctx context.Context, service string, revisions []fleet.Revision, p pair) *blueprint {
	at := slices.IndexFunc(revisions, func(r fleet.Revision) bool { return r.Number == p.revision })
	if at < 0 {
		return nil
	}
	revision := revisions[at]
	spec := &revision.Spec
	print := &blueprint{spec: spec, revision: revision.Number, hash: p.hash, image: fleet.Image{ID: cmp.Or(revision.ImageID, p.app.ImageID), Ref: spec.Image}}
	if image, found := e.imageOfNodes(ctx, print.image.ID, p.app.ImageID); found {
		print.image = image
	}
	port, err := e.router.Port(*spec, print.image.Ports)
	if err != nil {
		e.log.Warn("Cannot tell the port of a service", "service", service, "error", err)
	}
	print.port = port
	print.check = e.checks.Effective(*spec, print.image, port)
	print.hash = cmp.Or(print.hash, specHash(spec, print.image.ID))
	return print
}

// imageOfNodes returns the first of the images that is on a node.
func (e *Engine) imageOfNodes(ctx context.Context, ids ...string) (fleet.Image, bool) {
	for _, id := range ids {
		if id == "" {
			continue
		}
		for _, node := range e.nodeNames() {
			if !e.members.answers(node) {
				continue // each question would wait for it
			}
			if image, err := e.images.Ensure(ctx, node, id, fleet.PullNever); err == nil {
				return image, true
			}
		}
	}
	return fleet.Image{}, false
}

// adoptReplica makes a replica of containers that are there. A running app is
// taken for ready until its probes say otherwise, but for one that the process
// before may have been waiting for: a wake goes on with that, and starts nothing.
func (e *Engine) adoptReplica(a *actor, p pair, print *blueprint) *replica {
	node := cmp.Or(p.app.Node, p.sandbox.Node)
	r := e.newReplica(a, p.index, e.ledger.hold(node, print.spec, p.index), print, holdsHostPorts(print.spec, p.sandbox))
	r.app = container{id: p.app.ID, name: p.app.Name}
	r.job = p.job
	r.startedAt = p.app.StartedAt
	r.fixedAddress = true
	if p.sandbox.ID != "" {
		// A sandbox that began after its app is as good as down: the app runs in the network of the one before.
		orphan := p.app.Status == fleet.ContainerRunning && p.sandbox.StartedAt.After(p.app.StartedAt)
		r.holdSandbox(container{id: p.sandbox.ID, name: p.sandbox.Name, running: p.sandbox.Status == fleet.ContainerRunning && !orphan})
		if r.isReached(p.sandbox) {
			r.address = r.reach
		} else if address, err := e.networks.addressOf(r, p.sandbox); err == nil {
			r.address = address
		}
	}
	switch p.app.Status {
	case fleet.ContainerRunning:
		if !e.provedReady(r) {
			r.startedAt = time.Time{}
			break
		}
		r.want, r.readyAt = wantUp, time.Now()
		r.upSince = r.readyAt
		r.setStateLocked(stateReady)
	case fleet.ContainerPaused:
		r.want = wantPaused
		r.setStateLocked(statePaused)
	case fleet.ContainerExited, fleet.ContainerDead:
		r.lastExit = fmt.Sprintf("exited with code %d at %s", p.app.ExitCode, p.app.FinishedAt.UTC().Format(time.RFC3339))
	}
	r.noteStanding()
	e.group.Go(func() { r.drive(e.life) })
	return r
}

// provedReady asks a running app that was started a short while ago whether it
// is ready. One that has run for longer was ready once.
func (e *Engine) provedReady(r *replica) bool {
	age, check := time.Since(r.startedAt), r.print.check
	switch {
	case age > r.print.spec.Wake.MaxWait.Std(), !r.sandbox.running:
		return true
	case check.Type == fleet.CheckNone:
		return age > check.Settle.Std()
	}
	ctx, cancel := e.background(adoptProbe)
	defer cancel()
	return e.prober.Await(ctx, r.target(), check) == nil
}

// adoptProbe is how long a start waits for an app that has just begun.
const adoptProbe = 500 * time.Millisecond

// settleIn lets the service go on with what was found of it. Of two replicas
// of one index the one that runs serves, of two that run the one in service.
func (a *actor) settleIn(found []*replica) {
	slices.SortStableFunc(found, func(x, y *replica) int {
		return cmp.Or(cmp.Compare(x.index, y.index), cmp.Compare(a.rank(y), a.rank(x)), cmp.Compare(y.print.revision, x.print.revision))
	})
	for _, r := range found {
		last := len(a.replicas) - 1
		if r.index < 0 || last >= 0 && a.replicas[last].index == r.index {
			a.extra = append(a.extra, r)
			a.engine.ledger.replaced(r.place, r.assumed) // what was found may be of a job that is gone on with
			continue
		}
		a.replicas = append(a.replicas, r)
	}
	a.noteDown()
	switch running := slices.ContainsFunc(a.replicas, func(r *replica) bool { return r.look().state == stateReady }); {
	case a.removing:
	case a.print == nil:
		a.power = powerFailed
		a.failure = fleet.Errorf(fleet.Unavailable, "%s has never been deployed successfully", a.name)
	case running:
		a.power, a.awakeAt = powerAwake, time.Now()
		a.saveSoon()
		a.bringUpRest()
		a.scheduleIdle()
	case a.desired.Power == fleet.PowerAwake && len(a.replicas) > 0:
		a.transition(eventRequest)
	case a.desired.Power == fleet.PowerStopped:
		a.power = powerFailed
		a.failure = fleet.Errorf(fleet.Unavailable, "%s was given up before the spawner was restarted", a.name)
	case a.desired.Power == fleet.PowerDozing:
		a.depth = fleet.SleepPause
	case a.desired.Power == fleet.PowerDeep:
		a.depth = fleet.SleepDeep
	}
	a.publish()
}

func (a *actor) rank(r *replica) int {
	switch v := r.look(); {
	case v.state == stateReady && r.print.revision == a.desired.Revision && !r.assumed:
		return 4
	case v.state == stateReady && !r.assumed:
		return 3
	case v.state == stateReady && r.print.revision == a.desired.Revision:
		return 2
	case r.print.revision == a.desired.Revision:
		return 1
	}
	return 0
}

// bringUpRest starts what is down of a service that is awake, and recycles what
// runs in a network that was made anew under it.
func (a *actor) bringUpRest() {
	for _, r := range a.replicas {
		switch v := r.look(); {
		case v.state == stateDown, v.state == statePaused:
			r.order(wantUp)
		case !v.sandbox.running:
			a.recycle(r, "its sandbox is down")
		default:
			r.watchHealth()
		}
	}
}
