package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"edgespawner/fleet"
	"edgespawner/scheduler"
)

// Rebalance plans moves after which replicas stand better and, unless only the
// plan is asked for, has a job make them. What cannot be asked, is about to
// change or may not run twice is left where it is.
func (e *Engine) Rebalance(ctx context.Context, question fleet.Rebalance, by string) (fleet.RebalancePlan, error) {
	picture, err := e.movable(ctx)
	if err != nil {
		return fleet.RebalancePlan{}, err
	}
	list := moves(scheduler.Rebalance(picture, cmp.Or(question.Moves, fleet.DefaultMoves)))
	plan := fleet.RebalancePlan{ID: planID(list), Moves: list}
	switch {
	case question.Plan:
		return plan, nil
	case question.ID != "" && question.ID != plan.ID:
		return plan, fleet.Errorf(fleet.Conflict, "the plan has changed since it was shown: look at the new one first")
	case len(list) == 0:
		return plan, nil
	case e.Frozen() != "":
		return plan, fleet.Errorf(fleet.Unavailable, "nothing is moved: %s", e.Frozen())
	}
	job := newJob(fleet.JobRebalance, "", by)
	job.Moves = list
	if err := e.queue.reserve(job); err != nil {
		return plan, err
	}
	defer e.queue.release()
	if err := e.submit(ctx, job); err != nil {
		return plan, err
	}
	plan.JobID = job.ID
	return plan, nil
}

// movable is the picture with everything pinned that is not to be moved by the way.
func (e *Engine) movable(ctx context.Context) (scheduler.Picture, error) {
	picture := e.picture()
	pinned := map[string]bool{}
	for _, a := range e.actorList() {
		err := a.call(ctx, func() {
			pinned[a.name] = a.print == nil || a.job != nil || a.removing || mustNotRunTwice(a.print.spec)
		})
		if err != nil && fleet.KindOf(err) != fleet.NotFound {
			return picture, err
		}
	}
	for s := range picture.Services {
		name := picture.Services[s].Demand.Service
		stays, known := pinned[name]
		for r := range picture.Services[s].Replicas {
			picture.Services[s].Replicas[r].Pinned = stays || !known
		}
	}
	return picture, nil
}

// planID is the same for the same moves in the same order.
func planID(list []fleet.Move) string {
	hash := sha256.New()
	for _, m := range list {
		fmt.Fprintf(hash, "%s\x00%s\x00%s\x00", m.Replica, m.From, m.To) // a hash.Hash never returns an error
	}
	return hex.EncodeToString(hash.Sum(nil)[:6])
}
