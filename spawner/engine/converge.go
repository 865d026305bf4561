package engine

import (
	"context"
	"time"

	"edgespawner/fleet"
)

// Pauses between jobs that bring a service to what is wanted.
const (
	convergeFirst   = reconcilePeriod
	convergeLongest = 10 * time.Minute
)

// converging is what a service remembers of being brought to what is wanted.
type converging struct {
	after time.Time // no sooner than then again
	pause time.Duration
}

// converge has a service brought to the replicas that are wanted of it, by a job
// like any other, when no job is left that would do so: one that failed could not
// take everything back, or a replica went for good.
func (a *actor) converge() {
	settled := a.power == powerAwake || a.power == powerAsleep || // who has failed is tried again when asked for,
		a.power == powerFailed && a.standsNowhere() // unless there is nothing to try
	if !settled || a.job != nil || a.removing || a.print == nil || a.engine.queue.of(a.name) != nil {
		return
	}
	if a.asWanted() {
		a.lacks = converging{}
		return
	}
	if len(a.replicas) < a.desired.Replicas && !a.fitsNow() {
		return
	}
	now := time.Now()
	if now.Before(a.lacks.after) {
		return
	}
	a.lacks.pause = min(max(2*a.lacks.pause, convergeFirst), convergeLongest)
	a.lacks.after = now.Add(a.lacks.pause)
	wanted := a.desired.Replicas
	a.engine.spawn(func() {
		ctx, cancel := a.engine.background(storeTimeout)
		defer cancel()
		if err := a.engine.bringToWanted(ctx, a, wanted); err != nil {
			a.log.Warn("Cannot have the service brought to what is wanted", "error", err)
		}
	})
}

// asWanted says whether there are exactly the wanted replicas of the revision in service.
func (a *actor) asWanted() bool {
	if len(a.replicas) != a.desired.Replicas {
		return false
	}
	for index, r := range a.replicas {
		if r.index != index || r.print.revision != a.print.revision {
			return false
		}
	}
	return true
}

func (e *Engine) bringToWanted(ctx context.Context, a *actor, wanted int) error {
	job := newJob(fleet.JobScale, a.name, "the spawner, since it has not the replicas that are wanted")
	job.Replicas = wanted
	_, err := e.accept(ctx, job, func(a *actor) error {
		if a.job != nil || a.desired.Replicas != wanted || a.asWanted() {
			return fleet.Errorf(fleet.Conflict, "another job was asked for meanwhile")
		}
		return nil
	})
	return err
}
