package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"edgespawner/fleet"
)

// Deploy accepts a spec: a new service, or a new revision of one. Errors are
// *fleet.Error that name the field, and then nothing has changed. A spec and an
// image that are in service already are Unchanged, unless force is set. One that
// no node has room for is accepted: its job fails at its first step and says why.
func (e *Engine) Deploy(ctx context.Context, spec fleet.Spec, by string, force bool) (fleet.Accepted, error) {
	image, warnings, _, err := e.examine(ctx, spec)
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

// Plan says what a deploy of the spec would do, and where its replicas would come
// to, and changes nothing. The error is that of the deploy's job where they have no place.
func (e *Engine) Plan(ctx context.Context, spec fleet.Spec, force bool) (fleet.Plan, error) {
	e.takeStockFor(ctx, &spec)
	image, warnings, noPlace, err := e.examine(ctx, spec)
	if err := cmp.Or(err, noPlace); err != nil {
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
	changes := plan(stand, spec.Replicas, print, force)
	if err := e.foresee(stand, changes, print, spec.Replicas); err != nil {
		return fleet.Plan{}, err
	}
	result.Steps = steps(spec.Name, changes)
	return result, nil
}

// examine says whether a spec can be deployed as far as that can be known
// beforehand. The image is zero while no node has it; noPlace says why no node has
// room now, which a drain that ends may change.
func (e *Engine) examine(ctx context.Context, spec fleet.Spec) (image fleet.Image, warnings []string, noPlace, err error) {
	if err := spec.Validate(); err != nil {
		return image, nil, nil, err
	}
	warnings, err = e.router.Check(spec, e.othersThan(spec.Name))
	if err != nil {
		return image, nil, nil, err
	}
	if err := e.checkAgainstOthers(spec); err != nil {
		return image, nil, nil, err
	}
	for tries := 1; ; tries++ {
		node, noPlace := e.lookForPlace(&spec)
		if noPlace != nil {
			return image, warnings, noPlace, nil // no node is asked for an image that it would not get
		}
		err = e.whileAnswers(ctx, node, func(ctx context.Context) (err error) {
			image, err = e.examineImage(ctx, node, spec)
			return err
		})
		if err == nil || tries == examineTries || ctx.Err() != nil || e.members.answers(node) {
			return image, warnings, nil, err
		}
	}
}

// examineTries is how many nodes are asked, one after another, for an image while each falls silent.
const examineTries = 3

// examineImage looks for the image of a spec, on the node and at its registry. One
// that other nodes alone have, for another platform, is refused in words of that.
func (e *Engine) examineImage(ctx context.Context, node string, spec fleet.Spec) (fleet.Image, error) {
	if err := e.images.Check(ctx, node, spec.Image, spec.Pull); err != nil {
		if foreign := e.foreignImage(ctx, node, spec); foreign != nil {
			return fleet.Image{}, foreign
		}
		var known *fleet.Error
		if errors.As(err, &known) {
			return fleet.Image{}, &fleet.Error{Kind: imageKind(known.Kind), Field: "image", Message: known.Message}
		}
		return fleet.Image{}, err
	}
	image, err := e.images.Ensure(ctx, node, spec.Image, fleet.PullNever)
	switch {
	case err == nil:
		_, err = e.router.Port(spec, image.Ports)
	case fleet.KindOf(err) == fleet.NotFound:
		err = nil // it will be pulled
	}
	return image, err
}

// foreignImage is why an image that cannot be had on a node and is on others fits
// none; nil when it is on none, or fits.
func (e *Engine) foreignImage(ctx context.Context, node string, spec fleet.Spec) error {
	for _, other := range e.nodeNames() {
		if other == node || !e.members.answers(other) {
			continue
		}
		image, err := e.images.Ensure(ctx, other, spec.Image, fleet.PullNever)
		if err != nil {
			continue
		}
		if _, err := e.ledger.look(e.nodeList(), []seat{{spec: &spec, platforms: platforms(image), index: -1}}); err != nil {
			return fleet.InvalidField("image", "node %s has %s: %s", other, spec.Image, err)
		}
		return nil
	}
	return nil
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
	if e.queue.of(spec.Name) != nil {
		return 0, false // what waits or runs may make it another
	}
	current, same := 0, false
	err := a.call(ctx, func() {
		current = a.desired.Revision
		same = a.print != nil && a.job == nil && !a.removing && a.power != powerFailed && a.desired.Replicas == spec.Replicas &&
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
	if err := e.queue.reserve(job); err != nil {
		return fleet.Accepted{}, err
	}
	defer e.queue.release()
	e.accepting.Lock()
	defer e.accepting.Unlock()
	spec := revision.Spec
	if e.queue.removes(spec.Name) {
		return fleet.Accepted{}, fleet.Errorf(fleet.Conflict, "%s is being removed: deploy it again when that has ended", spec.Name)
	}
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
		e.record(fleet.Event{Type: fleet.EventWarning, Service: spec.Name, Message: warning, By: job.By})
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
	var inService *fleet.Spec
	err := a.call(ctx, func() {
		if a.print != nil {
			inService = a.print.spec
			a.newest = inService
		}
	})
	if err != nil {
		e.log.Debug("A service went while its deploy failed", "service", a.name, "error", err)
	}
	if inService != nil {
		e.standsFor(inService)
	}
}

// standsFor lets a spec stand for its service in the checks of others, unless a
// newer one has been accepted since and waits for its turn.
func (e *Engine) standsFor(spec *fleet.Spec) {
	e.accepting.Lock()
	defer e.accepting.Unlock()
	if !e.queue.waits(spec.Name, fleet.JobDeploy, fleet.JobRollback) && !e.queue.removes(spec.Name) {
		e.accepted.set(spec)
	}
}

// neverRan ends a deploy that was canceled before its turn came.
func (e *Engine) neverRan(job fleet.Job, cause error) {
	a, ok := e.actor(job.Service)
	if !ok || job.Kind != fleet.JobDeploy && job.Kind != fleet.JobRollback {
		return
	}
	ctx, cancel := e.background(storeTimeout)
	defer cancel()
	revision, err := e.revisions.Revision(ctx, job.Service, job.Revision)
	if err == nil {
		revision.Outcome = fleet.OutcomeCanceled
		err = e.revisions.SetRevision(ctx, revision)
	}
	if err != nil {
		e.log.Error("Cannot store that a revision was canceled", "service", job.Service, "error", err)
	}
	e.acceptedAgain(a)
	if !e.queue.waits(job.Service, fleet.JobDeploy, fleet.JobRollback) {
		a.post(func() { a.endNothing(cause) })
	}
}

// endNothing answers who waits for a first deploy that will not come.
func (a *actor) endNothing(cause error) {
	if a.job == nil && !a.removing && a.print == nil {
		a.endJob(cause)
	}
}

func (e *Engine) rollOut(run *jobRun, a *actor, revision *fleet.Revision, force bool) error {
	print, err := e.draw(run, revision)
	if err != nil {
		return err
	}
	return e.bringTo(run, a, print, revision.Spec.Replicas, force)
}

// draw makes the blueprint of a revision: where it goes, and its image brought there.
func (e *Engine) draw(run *jobRun, revision *fleet.Revision) (*blueprint, error) {
	spec := &revision.Spec
	node, image := "", fleet.Image{}
	err := run.step("place", "", func(ctx context.Context) (detail string, err error) {
		e.takeStockFor(ctx, spec)
		node, err = e.lookForPlace(spec)
		if err != nil && e.allAnswer() { // nothing that passes by itself
			err = fleet.Errorf(fleet.Conflict, "%s", err)
		}
		if a, ok := e.actor(spec.Name); ok && err != nil {
			a.post(func() { a.notePlaced(err) })
		}
		if spec.Replicas > 1 {
			return "", err // each has its own: that is told when all have one
		}
		return "on node " + node, err
	})
	if err != nil {
		return nil, err
	}
	err = run.step("pull", "", func(ctx context.Context) (detail string, err error) {
		if !e.members.answers(node) { // it has fallen silent since it was chosen
			if node, err = e.lookForPlace(spec); err != nil {
				return "", err
			}
		}
		err = e.whileAnswers(ctx, node, func(ctx context.Context) (err error) {
			image, err = e.fetch(ctx, node, revision)
			return err
		})
		return image.ID, err
	})
	if err != nil {
		return nil, err
	}
	port, err := e.router.Port(*spec, image.Ports)
	if err != nil {
		return nil, err
	}
	revision.ImageID, revision.ImageDigest = image.ID, image.Digest
	if err := e.revisions.SetRevision(run.ctx, *revision); err != nil {
		return nil, fmt.Errorf("cannot store the image of the revision: %w", err)
	}
	return &blueprint{
		spec: spec, revision: revision.Number, image: image, port: port,
		check: e.checks.Effective(*spec, image, port), hash: specHash(spec, image.ID),
	}, nil
}

// fetch brings the image of a revision to the node: the recorded one of a
// rollback, by id and else by digest, and else what the reference means now.
func (e *Engine) fetch(ctx context.Context, node string, revision *fleet.Revision) (fleet.Image, error) {
	if revision.ImageID != "" {
		image, err := e.images.Bring(ctx, node, revision.ImageID)
		if err == nil || revision.ImageDigest == "" {
			return image, err
		}
		return e.images.Ensure(ctx, node, revision.ImageDigest, fleet.PullMissing)
	}
	return e.images.Ensure(ctx, node, revision.Spec.Image, revision.Spec.Pull)
}

// hasImage says whether a node has all that it can be given of the image of a blueprint.
func (e *Engine) hasImage(ctx context.Context, node string, print *blueprint) (bool, error) {
	if print.image.ID == "" {
		return true, nil // nobody knows it any more: what the reference means there is taken
	}
	_, err := e.images.Ensure(ctx, node, print.image.ID, fleet.PullNever)
	if fleet.KindOf(err) == fleet.NotFound {
		return false, nil
	}
	return err == nil, err
}

// bringImage makes sure that the image of a blueprint is on a node: that very
// one, whatever its tag means there by now.
func (e *Engine) bringImage(ctx context.Context, node string, print *blueprint) error {
	if there, err := e.hasImage(ctx, node, print); there || err != nil {
		return err
	}
	if print.image.Digest != "" { // its registry has it, and carries it with less trouble than we do
		found, err := e.images.Ensure(ctx, node, print.image.Digest, fleet.PullMissing)
		if err == nil && found.ID == print.image.ID {
			return nil
		}
	}
	_, err := e.images.Bring(ctx, node, print.image.ID)
	if err == nil || fleet.KindOf(err) != fleet.NotFound {
		return err
	}
	found, err := e.images.Ensure(ctx, node, print.spec.Image, fleet.PullMissing)
	if err == nil && found.ID != print.image.ID {
		return fleet.Errorf(fleet.Unavailable, "the image %s of node %s is another one than that of the revision", print.spec.Image, node)
	}
	return err
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
	return e.bringTo(run, a, print, want, force)
}
