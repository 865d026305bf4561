package engine

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"edgespawner/fleet"
	"edgespawner/probes"
)

// Prober runs health checks; *probes.Prober is one.
type Prober interface {
	// Await probes at the tight cadence of a wake until the first success, or until ctx ends.
	Await(ctx context.Context, target probes.Target, check fleet.HealthCheck) error
	// Watch probes an awake replica on its schedule; changes go to ReportHealth.
	Watch(target probes.Target, check fleet.HealthCheck, health fleet.Health, started time.Time)
	// Forget ends the watch of that replica; it is nil when there is none.
	Forget(replica string)
	// Answers says whether the app answers its clients at all, by one request within the time-out of a check.
	Answers(ctx context.Context, target probes.Target) bool
}

// target is what probes are run against. Its name is that of the app's
// container, since two replicas of one index live side by side in a rollout.
func (r *replica) target() probes.Target {
	v := r.look()
	return probes.Target{Replica: r.node + "/" + v.app.name, Service: r.service, Node: r.node, AppID: v.app.id, Addr: v.address, Port: r.print.port, Published: v.published}
}

// endpoint is where traffic for the replica goes: while it is ready, or while it
// fails its health check, answers all the same, and is not on its way off the edges.
func (r *replica) endpoint() (fleet.Endpoint, bool) {
	v := r.look()
	answers := v.state == stateUnhealthy && v.want == wantUp && r.care.answers && !r.care.leaving && !v.lost
	if !v.serves() && !answers || !v.address.IsValid() {
		return fleet.Endpoint{}, false
	}
	return fleet.Endpoint{Replica: r.name(), Addr: netip.AddrPortFrom(v.address, uint16(v.dialled(r.print.port)))}, true
}

// watchHealth begins the scheduled probes of a ready replica. The prober does not
// repeat Docker's own HEALTHCHECK: its verdicts come as notices.
func (r *replica) watchHealth() {
	r.care.watched = true
	r.engine.prober.Watch(r.target(), r.print.check, fleet.Healthy, r.look().readyAt)
}

func (r *replica) stopWatchingHealth() {
	r.care.watched = false
	r.engine.prober.Forget(r.target().Replica)
}

// watchReady begins the probes of ready replicas that a job has brought up.
func (a *actor) watchReady() {
	for _, r := range a.replicas {
		if !r.care.watched && r.look().state == stateReady {
			r.watchHealth()
		}
	}
}

// ReportHealth takes the prober's changes.
func (e *Engine) ReportHealth(change probes.Change) {
	a, ok := e.actor(change.Target.Service)
	if !ok {
		return
	}
	a.post(func() {
		for _, r := range a.replicas {
			if r.target().Replica != change.Target.Replica || r.target().AppID != change.Target.AppID {
				continue
			}
			if !e.members.answers(r.node) && (r.print.check.Type == fleet.CheckCommand || e.Frozen() != "") {
				continue // it could not be run, or it is we who are cut off: that says nothing of the app
			}
			found := finding{healthy: change.Health == fleet.Healthy, reason: errors.New(change.Reason), answers: change.Answered}
			// What a command found says nothing of whether clients are answered.
			found.told = r.print.check.Type != fleet.CheckCommand
			a.healthChanged(r, found)
		}
	})
}

// finding is what a health check says of a replica that is up.
type finding struct {
	healthy bool
	reason  error // of one that is not
	answers bool  // it answers its clients all the same
	told    bool  // answers is known
}

// noticeHealth takes Docker's verdict on the image's HEALTHCHECK. It counts only
// while the app runs: a paused one is called unhealthy at once, and stays so until
// its next probe. Notices come in order, so what is told after the engine has told
// of the start or the unpause is about the time since.
func (a *actor) noticeHealth(r *replica, health fleet.Health) {
	if r.print.check.Type != fleet.CheckDocker || r.care.suspended {
		return
	}
	switch health {
	case fleet.Healthy:
		a.healthChanged(r, finding{healthy: true})
	case fleet.Unhealthy:
		a.healthChanged(r, finding{reason: errHealthcheck})
	}
}

var errHealthcheck = errors.New("the image's HEALTHCHECK failed")

// compareHealth takes Docker's verdict from a list: what no notice told, as while
// the stream was broken. An unhealthy one may be left from a pause until the app
// has been up for as long as Docker takes to judge.
func (a *actor) compareHealth(r *replica, listed fleet.Health) {
	check := r.print.check
	judged := time.Duration(check.Retries+1)*(check.Interval+check.Timeout).Std() + check.StartPeriod.Std()
	if listed == fleet.Unhealthy && time.Since(r.look().readyAt) < judged {
		return
	}
	a.noticeHealth(r, listed)
}
