package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/probes"
)

// What the fake prober takes to find out that an app is ill.
const (
	fakeInterval = time.Second
	fakeRetries  = 3
)

// fakeProber probes the apps of a fakeDocker.
type fakeProber struct {
	process *process

	mu      sync.Mutex
	watched map[string]context.CancelFunc // by replica
}

// probe says whether the check of the app at an address succeeds, and whether it answers.
func (f *fakeProber) probe(t probes.Target) (healthy, answers bool) {
	d := f.process.world.docker
	d.mu.Lock()
	defer d.mu.Unlock()
	port := t.Port
	if published, ok := t.Published[port]; ok {
		port = published
	}
	app := d.cluster.answeringAt(netip.AddrPortFrom(t.Addr, uint16(port)))
	if app == nil {
		return false, false
	}
	return !app.sick && !app.node.behaviourOf(app).sick, true
}

func (f *fakeProber) Await(ctx context.Context, t probes.Target, check fleet.HealthCheck) error {
	began := time.Now()
	if check.Type == fleet.CheckNone {
		select {
		case <-time.After(check.Settle.Std()):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for {
		if healthy, _ := f.probe(t); healthy {
			return nil
		}
		if t.Tried != nil {
			t.Tried(errors.New("it does not answer"))
		}
		select {
		case <-time.After(min(max(time.Millisecond, time.Since(began)/25), 100*time.Millisecond)):
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready: %w", t.Replica, context.Cause(ctx))
		}
	}
}

func (f *fakeProber) Answers(_ context.Context, t probes.Target) bool {
	_, answers := f.probe(t)
	return answers
}

func (f *fakeProber) Watch(t probes.Target, check fleet.HealthCheck, _ fleet.Health, _ time.Time) {
	f.Forget(t.Replica)
	if check.Type == fleet.CheckDocker || check.Type == fleet.CheckNone {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithCancel(f.process.ctx)
	f.watched[t.Replica] = cancel
	go f.follow(ctx, t)
}

func (f *fakeProber) Forget(replica string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cancel, there := f.watched[replica]; there {
		cancel()
		delete(f.watched, replica)
	}
}

func (f *fakeProber) follow(ctx context.Context, t probes.Target) {
	tick := time.NewTicker(fakeInterval)
	defer tick.Stop()
	failures, silent, reported, answered := 0, 0, fleet.Healthy, false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, answers := f.probe(t)
		failures++
		silent++
		if answers {
			silent = 0
		}
		health := reported
		switch {
		case now:
			failures, health, answers = 0, fleet.Healthy, false
		case failures >= fakeRetries:
			health, answers = fleet.Unhealthy, answers || answered && silent < fakeRetries
		default:
			answers = answered
		}
		if (health != reported || answers != answered) && f.process.alive(false) == nil {
			reported, answered = health, answers
			change := probes.Change{Target: t, Health: health, Answered: answers, At: time.Now()}
			if health == fleet.Unhealthy {
				change.Reason = "it does not answer as it should"
			}
			f.process.engine.ReportHealth(change)
		}
	}
}

// life lets something be done to an app that runs.
func (w *world) life(name string, change func(b *box)) {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	if b := w.docker.named(name); b != nil && b.status == fleet.ContainerRunning {
		change(b)
	}
}

// hang lets an app answer nobody any more; its scheduled probes find that out after a while.
func (w *world) hang(name string) { w.life(name, func(b *box) { b.hung = true }) }

// sicken lets the health check of an app fail until it is started again; it answers its clients as before.
func (w *world) sicken(name string) { w.life(name, func(b *box) { b.sick = true }) }

// cure undoes both.
func (w *world) cure(name string) { w.life(name, func(b *box) { b.hung, b.sick = false, false }) }

// outOfMemory has the kernel kill an app.
func (w *world) outOfMemory(name string) {
	w.life(name, func(b *box) {
		b.oom = true
		w.docker.tell(b, fleet.Notice{Action: fleet.NoticeOOM})
		w.docker.endLocked(b, b.life, 137)
	})
}

// stopByHand stops an app behind the engine's back; it ends well.
func (w *world) stopByHand(name string) {
	w.life(name, func(b *box) {
		w.docker.tell(b, fleet.Notice{Action: fleet.NoticeKilled})
		w.docker.endLocked(b, b.life, 0)
	})
}

// judge lets the HEALTHCHECK of an app find something.
func (w *world) judge(name string, health fleet.Health) {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	if b := w.docker.named(name); b != nil {
		b.health = health
		w.docker.tell(b, fleet.Notice{Action: fleet.NoticeHealth, Health: health})
	}
}

// away lets the node answer nothing for a while, and its streams be lost. With
// ends every container ends then, with code 0, as when its daemon is restarted; the
// sandboxes come back with it.
func (w *world) away(lasts time.Duration, ends bool) {
	d := w.docker
	d.mu.Lock()
	d.away = true
	d.loseStreams()
	if ends {
		for _, b := range d.boxes {
			restart := b.config.Restart
			b.config.Restart = "no"
			d.endLocked(b, b.life, 0)
			b.config.Restart = restart
		}
	}
	d.mu.Unlock()
	time.Sleep(lasts)
	d.mu.Lock()
	d.away = false
	for _, b := range d.boxes {
		if ends && b.config.Restart == "always" && !b.byHand {
			time.AfterFunc(fakeRestart, func() { d.restarted(b) })
		}
	}
	d.findStreams()
	d.mu.Unlock()
}
