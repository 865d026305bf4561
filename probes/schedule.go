package probes

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"edgespawner/fleet"
)

// Change is a change of a watched replica's health, or of whether an unhealthy one answers.
type Change struct {
	Target Target
	Health fleet.Health // Healthy or Unhealthy
	Reason string       // of Unhealthy: what the last probe found
	// Answered says of Unhealthy that the app does answer probes, and not as it
	// should; false where nothing listens, it hangs, or a command judges it. An
	// app that answered ceases to after as many probes without an answer as make unhealthy.
	Answered bool
	At       time.Time
}

// Probed is a probe of the schedule that has ended.
type Probed struct {
	Type fleet.CheckType
	Late time.Duration // from the moment it was due to the one it began
	Took time.Duration
	Err  error // nil = healthy
}

// watch is a replica that is probed on a schedule.
type watch struct {
	target   Target
	check    fleet.HealthCheck
	health   fleet.Health // reported last; of the watch's goroutine alone, as are the next two
	answered bool         // reported last, of Unhealthy
	silent   int          // probes in a row without an answer
	since    time.Time    // of the app's start
	cancel   context.CancelFunc
}

// Watch probes a replica on its check's schedule from now on, in place of what
// was watched under that name. health is what is known of it already: Healthy
// after an Await, Starting otherwise; only changes from it are reported.
// Started is when its app started: within the check's start period from then
// on, failures do not count until the first success.
//
// Checks of type docker and none are not repeated: Docker's events tell the one
// and there is nothing to ask of the other. A replica watched while Run is not
// running is probed once it does.
func (p *Prober) Watch(t Target, check fleet.HealthCheck, health fleet.Health, started time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked(t.Replica)
	if check.Type == fleet.CheckDocker || check.Type == fleet.CheckNone {
		return
	}
	w := &watch{target: t, check: check.WithDefaults(), health: health, since: started}
	p.watches[t.Replica] = w
	if p.running != nil {
		p.startLocked(w)
	}
}

// Forget ends the watch of a replica. A report that is under way may still
// arrive; its Target says which app it was about.
func (p *Prober) Forget(replica string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked(replica)
}

// Watched returns how many replicas are watched.
func (p *Prober) Watched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watches)
}

// Run probes the watched replicas until ctx ends, each on a goroutine of its
// own, so that one that hangs delays no other; it returns when all have ended.
func (p *Prober) Run(ctx context.Context) error {
	p.mu.Lock()
	p.running = ctx
	for _, w := range p.watches {
		p.startLocked(w)
	}
	p.mu.Unlock()

	<-ctx.Done()
	p.mu.Lock()
	p.running = nil
	p.mu.Unlock()
	p.loops.Wait()
	return ctx.Err()
}

func (p *Prober) startLocked(w *watch) {
	ctx, cancel := context.WithCancel(p.running)
	w.cancel = cancel
	p.loops.Go(func() {
		defer cancel()
		p.follow(ctx, w)
	})
}

func (p *Prober) forgetLocked(replica string) {
	if w, ok := p.watches[replica]; ok {
		delete(p.watches, replica)
		if w.cancel != nil {
			w.cancel()
		}
	}
}

// follow probes one replica until ctx ends. The interval runs from the start
// of one probe to the start of the next, so a replica that hangs is found out
// after interval × retries, not after as many time-outs more.
func (p *Prober) follow(ctx context.Context, w *watch) {
	interval := w.check.Interval.Std()
	// The first delay spreads the replicas of a fleet that started together.
	next := rand.N(interval) + 1
	failures, successes := 0, 0
	for due := time.Now().Add(next); pause(ctx, next); due = time.Now().Add(next) {
		began := time.Now()
		err := p.Probe(ctx, w.target, w.check)
		if ctx.Err() != nil {
			return
		}
		p.observe(Probed{Type: w.check.Type, Late: began.Sub(due), Took: time.Since(began), Err: err})
		if err == nil {
			failures, w.silent = 0, 0
			if successes++; successes >= w.check.Successes {
				p.change(w, fleet.Healthy, nil)
			}
		} else if successes = 0; w.counts(began) {
			failures++
			p.log.Debug("Probe failed", "service", w.target.Service, "replica", w.target.Replica, "error", err)
			if failures >= w.check.Retries {
				p.change(w, fleet.Unhealthy, err)
			}
		}
		next = max(jitter(interval)-time.Since(began), 0)
	}
}

// counts says whether a failure at that time counts.
func (w *watch) counts(at time.Time) bool {
	return w.health != fleet.Starting || at.Sub(w.since) >= w.check.StartPeriod.Std()
}

// change reports a health that is not the one reported last.
func (p *Prober) change(w *watch, health fleet.Health, found error) {
	change := Change{Target: w.target, Health: health, At: time.Now()}
	if found != nil {
		change.Reason, change.Answered = found.Error(), w.answers(found)
	}
	if w.health == health && w.answered == change.Answered {
		return
	}
	w.health, w.answered = health, change.Answered
	p.report(change)
}

// answers says whether the app answers probes, by the last one, which failed.
func (w *watch) answers(found error) bool {
	var answered *errAnswered
	if errors.As(found, &answered) {
		w.silent = 0
		return true
	}
	w.silent++
	return w.answered && w.silent < w.check.Retries
}

// jitter takes up to a tenth off an interval, so that replicas do not stay in step.
func jitter(interval time.Duration) time.Duration {
	return interval - rand.N(interval/10+1)
}
