package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"edgespawner/fleet"
)

// connectTimeout is how long a start waits for a node before it goes on without it.
const connectTimeout = 10 * time.Second

// takeUp finds out what is stored and what runs, lets every service go on from
// there, publishes the first snapshot, and takes up the jobs that were cut off.
func (e *Engine) takeUp(ctx context.Context) error {
	nodes, err := e.nodes.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the nodes: %w", err)
	}
	var found []fleet.Container
	follows := make([]func(), 0, len(nodes))
	for _, node := range nodes {
		e.mu.Lock()
		e.cores[node.Name] = node.CPUs
		e.mu.Unlock()
		notices := e.watcher.Watch(ctx, node.Name)
		list, err := e.firstList(ctx, node.Name, notices)
		if err != nil {
			return err
		}
		found = append(found, list...)
		follows = append(follows, func() { e.follow(ctx, node.Name, notices) })
	}
	stored, err := e.services.Load(ctx)
	if err != nil {
		return fmt.Errorf("cannot load the services: %w", err)
	}
	if err := e.adopt(ctx, stored, found); err != nil {
		return err
	}
	e.board.start()
	if err := e.resumeJobs(ctx); err != nil {
		return err
	}
	for _, follow := range follows {
		e.group.Go(follow)
	}
	return nil
}

// firstList waits for the node's stream and lists its containers, with what
// only an inspect tells of those that run.
func (e *Engine) firstList(ctx context.Context, node string, notices <-chan fleet.Notice) ([]fleet.Container, error) {
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	for {
		select {
		case n, ok := <-notices:
			if !ok {
				return nil, context.Cause(ctx)
			}
			if n.Action != fleet.NoticeConnected {
				continue
			}
		case <-timeout.C:
			return nil, fleet.Errorf(fleet.Unavailable, "node %s does not answer within %s", node, connectTimeout)
		}
		break
	}
	list, err := e.containers.List(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("cannot list node %s: %w", node, err)
	}
	for i, c := range list {
		inspected, err := e.containers.Inspect(ctx, node, c.ID)
		if err != nil && fleet.KindOf(err) != fleet.NotFound {
			return nil, fmt.Errorf("cannot inspect %s: %w", c.Name, err)
		}
		if err == nil {
			list[i] = inspected
		}
	}
	return list, nil
}

// pair is what was found of one replica.
type pair struct {
	service       string
	index         int
	revision      int
	app, sandbox  fleet.Container
	hash          string
	sharedSandbox bool
}

// pairs groups containers into replicas: by app, and sandboxes that no app has joined.
func pairs(found []fleet.Container) map[string][]pair {
	byID := map[string]fleet.Container{}
	for _, c := range found {
		byID[c.ID] = c
	}
	result := map[string][]pair{}
	joined := map[string]int{}
	for _, c := range found {
		if c.Labels[fleet.LabelRole] != string(fleet.RoleApp) {
			continue
		}
		p := describe(c)
		p.app, p.sandbox = c, byID[c.SandboxID]
		joined[c.SandboxID]++
		p.sharedSandbox = joined[c.SandboxID] > 1
		result[p.service] = append(result[p.service], p)
	}
	for _, c := range found {
		if c.Labels[fleet.LabelRole] == string(fleet.RoleSandbox) && joined[c.ID] == 0 {
			p := describe(c)
			p.sandbox = c
			result[p.service] = append(result[p.service], p)
		}
	}
	return result
}

func describe(c fleet.Container) pair {
	index, indexErr := strconv.Atoi(c.Labels[fleet.LabelIndex])
	revision, revisionErr := strconv.Atoi(c.Labels[fleet.LabelRevision])
	if indexErr != nil || revisionErr != nil {
		index, revision = -1, 0 // labels that somebody changed: a stray
	}
	return pair{service: c.Labels[fleet.LabelService], index: index, revision: revision, hash: c.Labels[fleet.LabelSpecHash]}
}

// adopt begins an actor for each service with the replicas that were found.
func (e *Engine) adopt(ctx context.Context, stored []fleet.Desired, found []fleet.Container) error {
	if err := e.claimAll(ctx, found); err != nil {
		return err
	}
	groups := pairs(found)
	known := map[string]bool{}
	for _, desired := range stored {
		known[desired.Name] = true
	}
	rebuilt, err := e.rebuild(ctx, known, groups)
	if err != nil {
		return err
	}
	for _, desired := range slices.Concat(stored, rebuilt) {
		if err := e.adoptService(ctx, desired, groups[desired.Name]); err != nil {
			return fmt.Errorf("cannot take up service %s: %w", desired.Name, err)
		}
	}
	return nil
}

// claimAll takes the names and addresses of what was found, and gives back
// addresses whose sandbox is not there.
func (e *Engine) claimAll(ctx context.Context, found []fleet.Container) error {
	holders, err := e.addresses.Holders(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the addresses: %w", err)
	}
	there := map[string]bool{}
	for _, c := range found {
		e.names.claim(c.Node, c.Name)
		there[c.Node+"/"+c.Name] = true
	}
	held := map[string]bool{}
	for _, lease := range holders {
		held[lease.Holder] = true
		if !there[lease.Holder] {
			if err := e.addresses.Release(ctx, lease.Holder); err != nil {
				return fmt.Errorf("cannot release the address of %s: %w", lease.Holder, err)
			}
		}
	}
	for _, c := range found {
		holder := c.Node + "/" + c.Name
		if c.Labels[fleet.LabelRole] != string(fleet.RoleSandbox) || held[holder] {
			continue
		}
		for network, address := range c.Addresses {
			if err := e.addresses.Claim(ctx, fleet.Lease{Network: network, Address: address, Holder: holder}); err != nil {
				return fmt.Errorf("cannot claim the address of %s: %w", c.Name, err)
			}
		}
	}
	return nil
}

func (e *Engine) adoptService(ctx context.Context, desired fleet.Desired, found []pair) error {
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
			replicas = append(replicas, e.adoptReplica(a, p, print))
		} else {
			unknown = append(unknown, e.adoptReplica(a, p, labelled(desired.Name, p)))
		}
	}
	if len(revisions) > 0 {
		newest := revisions[0].Spec
		e.accepted.set(&newest)
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

// missing makes the replicas that are wanted and of which nothing was found, on
// a node where others of the service are; a wake makes their containers.
func (e *Engine) missing(a *actor, desired fleet.Desired, print *blueprint, found []*replica) []*replica {
	if print == nil || desired.Removing {
		return nil
	}
	node := e.nodeNames()[0]
	there := map[int]bool{}
	publishing := map[string]bool{}
	for _, r := range found {
		node = r.node
		there[r.index] = true
		publishing[r.node] = publishing[r.node] || r.publish
	}
	var list []*replica
	for index := range desired.Replicas {
		if there[index] {
			continue
		}
		publish := print.publishes() && !publishing[node]
		publishing[node] = publishing[node] || publish
		r := e.newReplica(a, index, node, print, publish)
		e.group.Go(func() { r.drive(e.life) })
		list = append(list, r)
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
	print := &blueprint{spec: spec, revision: revision.Number, hash: p.hash, image: fleet.Image{ID: cmp.Or(p.app.ImageID, revision.ImageID), Ref: spec.Image}}
	for _, node := range e.nodeNames() {
		image, err := e.images.Ensure(ctx, node, print.image.ID, fleet.PullNever)
		if err == nil {
			print.image = image
			break
		}
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

func (e *Engine) nodeNames() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	list := make([]string, 0, len(e.cores))
	for name := range e.cores {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// adoptReplica makes a replica of containers that are there. A running app is
// taken for ready until its probes say otherwise, but for one that the process
// before may have been waiting for: a wake goes on with that, and starts nothing.
func (e *Engine) adoptReplica(a *actor, p pair, print *blueprint) *replica {
	node := cmp.Or(p.app.Node, p.sandbox.Node)
	r := e.newReplica(a, p.index, node, print, len(p.sandbox.Ports) > 0)
	r.app = container{id: p.app.ID, name: p.app.Name}
	r.startedAt = p.app.StartedAt
	r.fixedAddress = true
	if p.sandbox.ID != "" {
		// A sandbox that began after its app is as good as down: the app runs in the network of the one before.
		orphan := p.app.Status == fleet.ContainerRunning && p.sandbox.StartedAt.After(p.app.StartedAt)
		r.holdSandbox(container{id: p.sandbox.ID, name: p.sandbox.Name, running: p.sandbox.Status == fleet.ContainerRunning && !orphan})
		if address, err := e.networks.addressOf(r, p.sandbox); err == nil {
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
		r.setStateLocked(stateReady)
	case fleet.ContainerPaused:
		r.want = wantPaused
		r.setStateLocked(statePaused)
	case fleet.ContainerExited, fleet.ContainerDead:
		r.lastExit = fmt.Sprintf("exited with code %d at %s", p.app.ExitCode, p.app.FinishedAt.UTC().Format(time.RFC3339))
	}
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
	case v.state == stateReady && r.print.revision == a.desired.Revision:
		return 3
	case v.state == stateReady:
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

// resumeJobs takes up the jobs that the last process left, oldest first, and
// removes what is left over of rollouts that nobody goes on with.
func (e *Engine) resumeJobs(ctx context.Context) error {
	unfinished, err := e.jobs.List(ctx, "", true, 0)
	if err != nil {
		return fmt.Errorf("cannot list the unfinished jobs: %w", err)
	}
	busy := map[string]bool{}
	for _, job := range slices.Backward(unfinished) {
		busy[job.Service] = true
		e.queue.add(job)
	}
	for _, a := range e.actorList() {
		if busy[a.name] {
			continue
		}
		if err := e.tidy(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) tidy(ctx context.Context, a *actor) error {
	removing := false
	err := a.call(ctx, func() {
		removing = a.removing
		a.sweep()
	})
	if err != nil {
		return err
	}
	if removing {
		job := newJob(fleet.JobRemove, a.name, "the spawner, which was ended while it removed it")
		if err := e.jobs.Add(ctx, job); err != nil {
			return fmt.Errorf("cannot store the job: %w", err)
		}
		e.queue.add(job)
		return nil
	}
	return nil
}
