package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// Deploy accepts a spec: a new service, or a new revision of one. Errors are
// *fleet.Error that name the field, and then nothing has changed. A spec and an
// image that are in service already are Unchanged, unless force is set.
func (e *Engine) Deploy(ctx context.Context, spec fleet.Spec, by string, force bool) (fleet.Accepted, error) {
	image, warnings, err := e.examine(ctx, spec)
	if err != nil {
		return fleet.Accepted{}, err
	}
	if current, ok := e.unchanged(ctx, spec, image); ok && !force {
		return fleet.Accepted{Service: spec.Name, Revision: current, Unchanged: true}, nil
	}
	job := newJob(fleet.JobDeploy, spec.Name, by)
	job.Force, job.Warnings = force, warnings
	return e.admit(ctx, fleet.Revision{Service: spec.Name, Spec: spec, By: by}, job)
}

// Rollback brings an earlier revision back, as a new revision with the same
// spec and image and as many replicas as there are now; 0 = the newest that succeeded before the one in service.
func (e *Engine) Rollback(ctx context.Context, name string, number int, by string) (fleet.Accepted, error) {
	a, ok := e.actor(name)
	if !ok {
		return fleet.Accepted{}, unknown(name)
	}
	inService, replicas := 0, 0
	if err := a.call(ctx, func() { inService, replicas = a.desired.Revision, a.desired.Replicas }); err != nil {
		return fleet.Accepted{}, err
	}
	list, err := e.revisions.Revisions(ctx, name)
	if err != nil {
		return fleet.Accepted{}, err
	}
	target, err := rollbackTarget(list, inService, number)
	if err != nil {
		return fleet.Accepted{}, err
	}
	target.Spec.Replicas = replicas // how many there are is no matter of the revision
	revision := fleet.Revision{Service: name, Spec: target.Spec, By: by, ImageID: target.ImageID, ImageDigest: target.ImageDigest}
	return e.admit(ctx, revision, newJob(fleet.JobRollback, name, by))
}

// Plan says what a deploy of the spec would do, and changes nothing.
func (e *Engine) Plan(ctx context.Context, spec fleet.Spec, force bool) (fleet.Plan, error) {
	image, warnings, err := e.examine(ctx, spec)
	if err != nil {
		return fleet.Plan{}, err
	}
	result := fleet.Plan{Service: spec.Name, Revision: 1, Warnings: warnings, Steps: []fleet.Step{}}
	print := &blueprint{spec: &spec, image: image, hash: specHash(&spec, image.ID)}
	var stand []standing
	if a, ok := e.actor(spec.Name); ok {
		revisions, err := e.revisions.Revisions(ctx, spec.Name)
		if err != nil {
			return fleet.Plan{}, err
		}
		if len(revisions) > 0 {
			result.Revision = revisions[0].Number + 1
		}
		if err := a.call(ctx, func() { stand = a.stand() }); err != nil {
			return fleet.Plan{}, err
		}
	}
	if current, ok := e.unchanged(ctx, spec, image); ok && !force {
		result.Revision, result.Unchanged = current, true
		return result, nil
	}
	result.Steps = steps(spec.Name, plan(stand, spec.Replicas, print, force))
	return result, nil
}

// examine says whether a spec can be deployed as far as that can be known
// beforehand. The image is zero while no node has it.
func (e *Engine) examine(ctx context.Context, spec fleet.Spec) (fleet.Image, []string, error) {
	if err := spec.Validate(); err != nil {
		return fleet.Image{}, nil, err
	}
	warnings, err := e.router.Check(spec, e.othersThan(spec.Name))
	if err != nil {
		return fleet.Image{}, nil, err
	}
	if err := e.checkAgainstOthers(spec); err != nil {
		return fleet.Image{}, nil, err
	}
	node, err := e.place(ctx, spec)
	if err != nil {
		return fleet.Image{}, nil, err
	}
	if err := e.images.Check(ctx, node, spec.Image, spec.Pull); err != nil {
		var known *fleet.Error
		if errors.As(err, &known) {
			return fleet.Image{}, nil, &fleet.Error{Kind: imageKind(known.Kind), Field: "image", Message: known.Message}
		}
		return fleet.Image{}, nil, err
	}
	image, err := e.images.Ensure(ctx, node, spec.Image, fleet.PullNever)
	switch {
	case err == nil:
		_, err = e.router.Port(spec, image.Ports)
	case fleet.KindOf(err) == fleet.NotFound:
		err = nil // it will be pulled
	}
	return image, warnings, err
}

// imageKind makes an image that is not there a mistake in the request.
func imageKind(kind fleet.Kind) fleet.Kind {
	if kind == fleet.NotFound {
		return fleet.Invalid
	}
	return kind
}

// unchanged says whether spec and image are in service already, and under which revision.
func (e *Engine) unchanged(ctx context.Context, spec fleet.Spec, image fleet.Image) (int, bool) {
	a, ok := e.actor(spec.Name)
	if !ok || image.ID == "" {
		return 0, false
	}
	current, same := 0, false
	err := a.call(ctx, func() {
		current = a.desired.Revision
		same = a.print != nil && a.job == nil && a.power != powerFailed && a.desired.Replicas == spec.Replicas &&
			a.print.hash == specHash(&spec, image.ID)
	})
	if err != nil || !same {
		return 0, false
	}
	if asksRegistry(spec) { // the tag may have moved there
		fresh, err := e.images.Ensure(ctx, a.replicaNode(), spec.Image, spec.Pull)
		return current, err == nil && fresh.ID == image.ID
	}
	return current, true
}

// admit stores a revision with its job, in one transaction, and hands the job to the queue.
func (e *Engine) admit(ctx context.Context, revision fleet.Revision, job fleet.Job) (fleet.Accepted, error) {
	if err := e.queue.room(); err != nil {
		return fleet.Accepted{}, err
	}
	e.accepting.Lock()
	defer e.accepting.Unlock()
	spec := revision.Spec
	if _, err := e.router.Check(spec, e.othersThan(spec.Name)); err != nil { // another deploy may have come between
		return fleet.Accepted{}, err
	}
	if err := e.checkAgainstOthers(spec); err != nil {
		return fleet.Accepted{}, err
	}
	revision.CreatedAt, revision.Outcome = time.Now().UTC(), fleet.OutcomePending
	number, err := e.services.AddRevision(ctx, revision, job)
	if err != nil {
		return fleet.Accepted{}, fmt.Errorf("cannot store the revision: %w", err)
	}
	job.Revision = number
	a := e.actorFor(fleet.Desired{Name: spec.Name, Replicas: spec.Replicas, Power: fleet.PowerAwake, CreatedAt: revision.CreatedAt, ChangedAt: revision.CreatedAt})
	a.post(func() { a.newest = &spec; a.publishIfNew() })
	e.accepted.set(&spec)
	e.recordAccepted(job)
	for _, warning := range job.Warnings {
		e.record(fleet.Event{Type: fleet.EventWarning, Service: spec.Name, Message: warning})
	}
	e.queue.add(job)
	return fleet.Accepted{Service: spec.Name, Revision: number, JobID: job.ID}, nil
}

// publishIfNew makes a service that has just been accepted known, so that a
// request for it waits instead of meeting 404.
func (a *actor) publishIfNew() {
	if a.print == nil {
		a.publish()
	}
}

// runDeploy rolls a revision out.
func (e *Engine) runDeploy(run *jobRun, a *actor) error {
	job := run.copy()
	revision, err := e.revisions.Revision(run.ctx, a.name, job.Revision)
	if err != nil {
		return err
	}
	err = e.rollOut(run, a, &revision, job.Force)
	switch {
	case errors.Is(context.Cause(run.ctx), errShutdown):
		return err
	case err == nil:
		revision.Outcome = fleet.OutcomeSucceeded
	case context.Cause(run.ctx) != nil:
		revision.Outcome = fleet.OutcomeCanceled
	default:
		revision.Outcome = fleet.OutcomeFailed
	}
	if err != nil {
		e.acceptedAgain(a)
	}
	ctx, cancel := e.background(storeTimeout)
	defer cancel()
	return errors.Join(err, e.revisions.SetRevision(ctx, revision))
}

// acceptedAgain lets the spec in service stand for the service after a newer one failed.
func (e *Engine) acceptedAgain(a *actor) {
	ctx, cancel := e.background(storeTimeout)
	defer cancel()
	err := a.call(ctx, func() {
		if a.print != nil {
			a.newest = a.print.spec
			e.accepted.set(a.print.spec)
		}
	})
	if err != nil {
		e.log.Debug("A service went while its deploy failed", "service", a.name, "error", err)
	}
}

func (e *Engine) rollOut(run *jobRun, a *actor, revision *fleet.Revision, force bool) error {
	print, node, err := e.draw(run, revision)
	if err != nil {
		return err
	}
	return e.bringTo(run, a, print, revision.Spec.Replicas, node, force)
}

// draw makes the blueprint of a revision: where it goes, and its image brought there.
func (e *Engine) draw(run *jobRun, revision *fleet.Revision) (*blueprint, string, error) {
	spec := &revision.Spec
	node, image := "", fleet.Image{}
	err := run.step("place", "", func(ctx context.Context) (detail string, err error) {
		node, err = e.place(ctx, *spec)
		return "on node " + node, err
	})
	if err != nil {
		return nil, "", err
	}
	err = run.step("pull", "", func(ctx context.Context) (detail string, err error) {
		image, err = e.fetch(ctx, node, revision)
		return image.ID, err
	})
	if err != nil {
		return nil, "", err
	}
	port, err := e.router.Port(*spec, image.Ports)
	if err != nil {
		return nil, "", err
	}
	revision.ImageID, revision.ImageDigest = image.ID, image.Digest
	if err := e.revisions.SetRevision(run.ctx, *revision); err != nil {
		return nil, "", fmt.Errorf("cannot store the image of the revision: %w", err)
	}
	return &blueprint{
		spec: spec, revision: revision.Number, image: image, port: port,
		check: e.checks.Effective(*spec, image, port), hash: specHash(spec, image.ID),
	}, node, nil
}

// fetch brings the image of a revision to the node: the recorded one of a
// rollback, by id and else by digest, and else what the reference means now.
func (e *Engine) fetch(ctx context.Context, node string, revision *fleet.Revision) (fleet.Image, error) {
	if revision.ImageID != "" {
		image, err := e.images.Ensure(ctx, node, revision.ImageID, fleet.PullNever)
		if err == nil || revision.ImageDigest == "" {
			return image, err
		}
		return e.images.Ensure(ctx, node, revision.ImageDigest, fleet.PullMissing)
	}
	return e.images.Ensure(ctx, node, revision.Spec.Image, revision.Spec.Pull)
}

// runRollout rolls the revision in service anew: another number of replicas, or all of them again.
func (e *Engine) runRollout(run *jobRun, a *actor, replicas func(*blueprint) int, force bool) error {
	var print *blueprint
	want := 0
	if err := a.call(run.ctx, func() { print, want = a.print, a.desired.Replicas }); err != nil {
		return err
	}
	if print == nil {
		return fleet.Errorf(fleet.Conflict, "%s has never been deployed successfully", a.name)
	}
	if replicas != nil {
		want = replicas(print)
	}
	node, err := e.place(run.ctx, *print.spec)
	if err != nil {
		return err
	}
	return e.bringTo(run, a, print, want, node, force)
}

// bringTo brings a service to want replicas of a blueprint.
func (e *Engine) bringTo(run *jobRun, a *actor, print *blueprint, want int, node string, force bool) error {
	o := &rollout{engine: e, actor: a, run: run, print: print, want: want, node: func(int) string { return node }}
	var stand []standing
	var strays []*replica
	err := a.call(run.ctx, func() {
		stand, strays = a.stand(), slices.Clone(a.extra)
		o.asleep = a.print != nil && a.sleeps()
	})
	if err != nil {
		return err
	}
	for _, stray := range strays { // of a rollout that the end of a process cut off
		if err := o.discard(stray); err != nil {
			return err
		}
	}
	if err := o.roll(plan(stand, want, print, force)); err != nil {
		return err
	}
	if err := o.commit(); err != nil {
		return err
	}
	return o.finish()
}

// sleeps says whether the service is asleep by choice, and is to be so after a deploy.
func (a *actor) sleeps() bool {
	switch a.power {
	case powerAsleep, powerStopping:
		return a.desired.Power != fleet.PowerStopped && a.desired.Replicas > 0
	}
	return false
}

// commit makes the blueprint the one in service: stored first, then told.
func (o *rollout) commit() error {
	var desired fleet.Desired
	err := o.actor.call(o.engine.life, func() {
		desired = o.actor.desired
		desired.Revision, desired.Replicas, desired.ChangedAt = o.print.revision, o.want, time.Now().UTC()
		if !o.asleep {
			desired.Power = o.actor.power.desired(o.actor.depth)
		}
	})
	if err != nil {
		return err
	}
	ctx, cancel := o.engine.background(storeTimeout)
	defer cancel()
	o.engine.saver.forget(o.actor.name)
	if err := o.engine.services.Save(ctx, desired); err != nil {
		return fmt.Errorf("cannot store the revision in service: %w", err)
	}
	o.engine.accepted.set(o.print.spec)
	return o.actor.call(o.engine.life, func() {
		a := o.actor
		a.desired, a.print, a.newest = desired, o.print, o.print.spec
		a.saveSoon()
		if len(a.replicas) == 0 && a.power != powerAsleep {
			a.power = powerAsleep // scaled to 0
		}
		a.becameReady()
	})
}

// finish removes what was replaced, and lets a service that slept sleep again.
func (o *rollout) finish() error {
	edges := 0
	if err := o.confirmCounting(o.run.ctx, "", &edges); err != nil {
		return err
	}
	if edges == 0 && o.print.spec.Route != nil {
		o.run.warn("no edge is connected: nobody can reach it yet")
	}
	var old []*replica
	err := o.actor.call(o.engine.life, func() {
		old = slices.Clone(o.actor.extra)
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
	for _, r := range old {
		err := o.run.stepWith(o.engine.life, "remove", r.name(), func(context.Context) (string, error) { return "", o.discard(r) })
		if err != nil {
			o.run.warn("what was replaced could not be removed: %s", err)
		}
	}
	o.certify()
	return nil
}

// certify waits for the certificates of a service with TLS, and says so when there are none yet.
func (o *rollout) certify() {
	route := o.print.spec.Route
	if route == nil || !route.TLS || o.want == 0 {
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

const certifyTimeout = 30 * time.Second

// stand describes the replicas that serve, for a plan.
func (a *actor) stand() []standing {
	list := make([]standing, 0, len(a.replicas))
	for _, r := range a.replicas {
		list = append(list, standing{index: r.index, hash: r.print.hash, sandbox: sandboxShape(r.print.spec), publish: r.publish})
	}
	return list
}
