package probes

import (
	"context"
	"math/rand/v2"
	"time"

	"edgespawner/fleet"
)

// Change is a change of a watched replica's health.
type Change struct {
	Target Target
	Health fleet.Health // Healthy or Unhealthy
	Reason string       // of Unhealthy: what the last probe found
	At     time.Time
}

// watch is a replica that is probed on a schedule.
type watch struct {
	target Target
	check  fleet.HealthCheck
	health fleet.Health // reported last; of the watch's goroutine alone
	since  time.Time    // of the app's start
	cancel context.CancelFunc
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
	failures := 0
	for pause(ctx, next) {
		began := time.Now()
		err := p.Probe(ctx, w.target, w.check)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
			p.change(w, fleet.Healthy, "")
		} else if w.counts(began) {
			failures++
			p.log.Debug("Probe failed", "service", w.target.Service, "replica", w.target.Replica, "error", err)
			if failures >= w.check.Retries {
				p.change(w, fleet.Unhealthy, err.Error())
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
func (p *Prober) change(w *watch, health fleet.Health, reason string) {
	if w.health == health {
		return
	}
	w.health = health
	p.report(Change{Target: w.target, Health: health, Reason: reason, At: time.Now()})
}

// jitter takes up to a tenth off an interval, so that replicas do not stay in step.
func jitter(interval time.Duration) time.Duration {
	return interval - rand.N(interval/10+1)
}
