package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"edgespawner/fleet"
)

const (
	// connectTimeout is how long a start waits for any node at all.
	connectTimeout = 10 * time.Second
	// startGrace is how long a start waits for the other nodes once one has answered.
	startGrace = 3 * time.Second
)

// takeUp finds out what is stored and what runs, lets every service go on from
// there, publishes the first snapshot, and takes up the jobs that were cut off.
// A node that does not answer is taken up when it does.
func (e *Engine) takeUp(ctx context.Context) error {
	nodes, err := e.nodes.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the nodes: %w", err)
	}
	looks := make(chan look, 2*len(nodes))
	for _, node := range nodes {
		if err := e.join(node, looks); err != nil {
			return err
		}
	}
	found, err := e.firstLooks(ctx, len(nodes), looks)
	if err != nil {
		return err
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
	close(e.adopted)
	return nil
}

// pair is what was found of one replica.
type pair struct {
	service      string
	index        int
	revision     int
	app, sandbox fleet.Container
	hash         string
	job          string
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
	return pair{service: c.Labels[fleet.LabelService], index: index, revision: revision, hash: c.Labels[fleet.LabelSpecHash], job: c.Labels[fleet.LabelJob]}
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
	assumed, err := e.assume(ctx)
	if err != nil {
		return err
	}
	for _, desired := range slices.Concat(stored, rebuilt) {
		if err := e.adoptService(ctx, desired, groups[desired.Name], assumed[desired.Name]); err != nil {
			return fmt.Errorf("cannot take up service %s: %w", desired.Name, err)
		}
	}
	return nil
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
		a.sweepNow()
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
