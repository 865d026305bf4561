package engine

import (
	"context"
	"errors"
	"fmt"
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
}

// target is what probes are run against. Its name is that of the app's
// container, since two replicas of one index live side by side in a rollout.
func (r *replica) target() probes.Target {
	v := r.look()
	return probes.Target{Replica: r.node + "/" + v.app.name, Service: r.service, Node: r.node, AppID: v.app.id, Addr: v.address, Port: r.print.port}
}

// endpoint is where traffic for the replica goes, while it is ready.
func (r *replica) endpoint() (fleet.Endpoint, bool) {
	v := r.look()
	if !v.serves() || !v.address.IsValid() {
		return fleet.Endpoint{}, false
	}
	return fleet.Endpoint{Replica: r.name(), Addr: netip.AddrPortFrom(v.address, uint16(r.print.port))}, true
}

// watchHealth begins the scheduled probes of a ready replica. The prober does not
// repeat Docker's own HEALTHCHECK: its verdicts come as notices.
func (r *replica) watchHealth() {
	r.watched = true
	r.engine.prober.Watch(r.target(), r.print.check, fleet.Healthy, r.look().readyAt)
}

func (r *replica) stopWatchingHealth() {
	r.watched = false
	r.engine.prober.Forget(r.target().Replica)
}

// watchReady begins the probes of ready replicas that a job has brought up.
func (a *actor) watchReady() {
	for _, r := range a.replicas {
		if !r.watched && r.look().state == stateReady {
			r.watchHealth()
		}
	}
}

// ReportHealth takes the prober's changes.
func (e *Engine) ReportHealth(change probes.Change) {
	for _, a := range e.actorList() {
		if a.name != change.Target.Service {
			continue
		}
		a.post(func() {
			for _, r := range a.replicas {
				if r.target().Replica == change.Target.Replica {
					a.healthChanged(r, change.Health == fleet.Healthy, errors.New(change.Reason))
				}
			}
		})
	}
}

// noticeHealth takes Docker's verdict on the image's HEALTHCHECK. It counts only
// while the replica is up: a paused container is called unhealthy at once.
func (a *actor) noticeHealth(r *replica, health fleet.Health) {
	if r.print.check.Type != fleet.CheckDocker {
		return
	}
	switch health {
	case fleet.Healthy:
		a.healthChanged(r, true, nil)
	case fleet.Unhealthy:
		a.healthChanged(r, false, fmt.Errorf("the image's HEALTHCHECK failed"))
	}
}
