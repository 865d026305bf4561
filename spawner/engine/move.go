package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"edgespawner/fleet"
)

// runMove moves replicas of a service to other nodes, as a rollout of the
// revision in service: the new one serves before the old one goes. What is down
// is moved as it is. A service that has never been deployed has nothing to move.
func (e *Engine) runMove(run *jobRun, a *actor) error {
	o := &rollout{engine: e, actor: a, run: run, job: run.id, ctx: run.ctx}
	if _, err := a.awaitPower(run.ctx, nil, power.settled); err != nil {
		return err
	}
	err := a.call(run.ctx, func() {
		o.print, o.want, o.still = a.print, a.desired.Replicas, a.isAtRest()
	})
	if err != nil {
		return err
	}
	if o.print == nil {
		a.post(a.sweep) // what a first deploy that failed has left
		return nil
	}
	job := run.copy()
	return o.bring(func(stand []standing) []change { return moved(stand, o.print, job) })
}

// isAtRest says whether nothing of the service runs or is to.
func (a *actor) isAtRest() bool { return a.power == powerAsleep || a.power == powerFailed }

// moved is the plan of a move: each replica that is to go is replaced by one
// elsewhere, the others are left as they are.
func moved(stand []standing, print *blueprint, job fleet.Job) []change {
	to := map[string]string{}
	for _, m := range job.Moves {
		to[m.Replica+"\x00"+m.From] = m.To
	}
	var changes []change
	for _, s := range stand {
		target, listed := to[fleet.ReplicaName(job.Service, s.index)+"\x00"+s.node]
		if !listed && s.node != job.Node {
			continue
		}
		changes = append(changes, change{
			kind: changeReplace, index: s.index, node: s.node, to: target,
			publish: s.publish, stopFirst: mustNotRunTwice(print.spec),
		})
	}
	return changes
}

// runDrain moves everything off a node, each service by a job of its own.
func (e *Engine) runDrain(run *jobRun) error {
	job := run.copy()
	m, ok := e.members.get(job.Node)
	if !ok {
		return unknownNode(job.Node)
	}
	var services []string
	for _, a := range e.actorList() {
		there := false
		err := a.call(run.ctx, func() {
			for _, r := range a.replicas {
				there = there || r.node == job.Node
			}
		})
		if err == nil && there {
			services = append(services, a.name)
		}
	}
	err := e.moveAll(run, services, func(string) fleet.Job { return fleet.Job{Node: job.Node} })
	if err != nil && context.Cause(run.ctx) == nil {
		m.note("it is not drained: " + err.Error())
	}
	return err
}

// runRebalance makes the moves that were consented to.
func (e *Engine) runRebalance(run *jobRun) error {
	moves := map[string][]fleet.Move{}
	var services []string
	for _, m := range run.copy().Moves {
		if moves[m.Service] == nil {
			services = append(services, m.Service)
		}
		moves[m.Service] = append(moves[m.Service], m)
	}
	return e.moveAll(run, services, func(service string) fleet.Job {
		return fleet.Job{Moves: moves[service]}
	})
}

// moveAll has services moved side by side and waits for all of them. One that
// cannot be moved keeps no other from it.
func (e *Engine) moveAll(run *jobRun, services []string, what func(service string) fleet.Job) error {
	var failures []failedMove
	children := map[string]string{}
	for _, service := range services {
		asked := what(service)
		job := newJob(fleet.JobMove, service, run.copy().By)
		job.Node, job.Moves = asked.Node, asked.Moves
		if err := e.submit(run.ctx, job); err != nil {
			return err
		}
		children[service] = job.ID
	}
	for _, service := range services {
		err := run.step("move", service, func(ctx context.Context) (string, error) {
			return "job " + children[service], e.awaitMove(ctx, children[service])
		})
		if errors.Is(err, errShutdown) {
			return err
		}
		if err != nil {
			failures = append(failures, failedMove{service, err})
		}
	}
	return notMoved(failures)
}

// notMoved is one error for all services that could not be moved: each reason has
// semicolons of its own, so of several each stands in brackets behind its service.
func notMoved(failures []failedMove) error {
	switch len(failures) {
	case 0:
		return nil
	case 1:
		return failures[0]
	}
	parts := make([]string, len(failures))
	for i, f := range failures {
		parts[i] = fmt.Sprintf("%s (%s)", f.service, f.reason())
	}
	return fmt.Errorf("%s not moved: %s", fleet.CountedAre(len(failures), "service"), strings.Join(parts, ", "))
}

// failedMove is why a service could not be moved.
type failedMove struct {
	service string
	error
}

// reason is the error without the service, which most begin with.
func (f failedMove) reason() string {
	text := f.error.Error()
	for _, after := range []string{" ", ": "} {
		text = strings.TrimPrefix(text, f.service+after)
	}
	return text
}

func (f failedMove) Error() string {
	if text := f.error.Error(); f.reason() != text {
		return text
	}
	return f.service + ": " + f.error.Error()
}

func (f failedMove) Unwrap() error { return f.error }

func (e *Engine) awaitMove(ctx context.Context, id string) error {
	job, err := e.WaitJob(ctx, id)
	switch {
	case err != nil:
		return err
	case job.State != fleet.JobSucceeded:
		return errors.New(job.Error)
	}
	return nil
}
