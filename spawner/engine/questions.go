package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
)

// questionTimeout bounds what an actor, which does nothing slow, takes to answer.
const questionTimeout = 5 * time.Second

// Services returns every service, by name.
func (e *Engine) Services() []fleet.Service {
	ctx, cancel := e.background(questionTimeout)
	defer cancel()
	list := []fleet.Service{}
	for _, a := range e.actorList() {
		var service fleet.Service
		if err := a.call(ctx, func() { service = a.service() }); err == nil {
			list = append(list, service)
		}
	}
	return list
}

// Service returns one service with all that is known of it.
func (e *Engine) Service(name string) (fleet.ServiceDetail, error) {
	a, ok := e.actor(name)
	if !ok {
		return fleet.ServiceDetail{}, unknown(name)
	}
	ctx, cancel := e.background(questionTimeout)
	defer cancel()
	var detail fleet.ServiceDetail
	err := a.call(ctx, func() { detail = a.detail() })
	return detail, err
}

// Why says what keeps the service in the state that it is in.
func (e *Engine) Why(name string) (fleet.Why, error) {
	a, ok := e.actor(name)
	if !ok {
		return fleet.Why{}, unknown(name)
	}
	ctx, cancel := e.background(questionTimeout)
	defer cancel()
	var why fleet.Why
	err := a.call(ctx, func() { why = a.why() })
	return why, err
}

// said says whether something stands among the reasons already.
func said(reasons []string, text string) bool {
	return slices.ContainsFunc(reasons, func(reason string) bool { return strings.Contains(reason, text) })
}

func (a *actor) service() fleet.Service {
	s := fleet.Service{Name: a.name, Replicas: a.desired.Replicas, Status: a.status(), Containers: []fleet.ServiceContainer{}}
	if a.newest != nil {
		s.Image = a.newest.Image
	}
	if a.print != nil {
		s.Image = a.print.spec.Image
	}
	s.Health = fleet.Unknown
	for _, r := range a.replicas {
		v := r.look()
		health := a.engine.members.healthOn(r.node, v.health())
		s.Containers = append(s.Containers, fleet.ServiceContainer{ID: v.app.id, Name: r.containerName(), Status: v.status(), Health: health, NodeID: r.node})
		s.Health = worse(s.Health, health)
	}
	return s
}

// containerName is what the API calls the replica: an instance of the direct
// API has exactly its service's name.
func (r *replica) containerName() string {
	if r.print.spec.Direct {
		return r.service
	}
	return r.name()
}

// worse returns the worse of two healths; Unknown says nothing.
func worse(x, y fleet.Health) fleet.Health {
	order := []fleet.Health{fleet.Unknown, fleet.Healthy, fleet.Starting, fleet.Unhealthy}
	if slices.Index(order, y) > slices.Index(order, x) {
		return y
	}
	return x
}

// status puts the state of the service into the word that people read.
func (a *actor) status() fleet.Status {
	switch {
	case a.removing:
		return fleet.StatusRemoving
	case a.job != nil && a.power != powerWaking:
		return fleet.StatusDeploying
	case a.print != nil && a.desired.Replicas == 0:
		return fleet.StatusStopped
	}
	switch a.power {
	case powerWaking, powerWanted:
		return fleet.StatusWaking
	case powerDraining, powerStopping:
		return fleet.StatusSleeping
	case powerFailed:
		return fleet.StatusFailed
	case powerAwake:
		return a.awakeStatus()
	}
	return a.asleepStatus()
}

func (a *actor) awakeStatus() fleet.Status {
	if a.leftDown() != nil {
		return fleet.StatusDegraded
	}
	for _, r := range a.replicas {
		switch v := r.look(); {
		case v.lost && !r.care.atRest:
			return fleet.StatusDegraded
		case v.state == stateReady:
		case v.state == stateStarting && v.restarts == 0:
		case v.state == stateDown && r.care.atRest: // it ended by itself, which is its good right
		case v.state == stateDown && v.want == wantUp && v.restarts == 0 && v.lastError == nil: // its start is on the way
		default:
			return fleet.StatusDegraded
		}
	}
	if len(a.replicas) < a.desired.Replicas {
		return fleet.StatusDegraded
	}
	return fleet.StatusRunning
}

func (a *actor) asleepStatus() fleet.Status {
	if a.print == nil {
		return fleet.StatusDeploying
	}
	if a.standsNowhere() {
		return fleet.StatusFailed
	}
	for _, r := range a.replicas {
		if r.look().state == statePaused {
			return fleet.StatusDozing
		}
	}
	if spec := a.print.spec; !spec.Direct && spec.Sleep.After == 0 && spec.Restart != fleet.RestartAlways && a.lastSleep == "" {
		return fleet.StatusStopped
	}
	return fleet.StatusAsleep
}

func (a *actor) detail() fleet.ServiceDetail {
	d := fleet.ServiceDetail{
		Service: a.service(), Revision: a.desired.Revision, Detail: []fleet.ReplicaDetail{},
		CreatedAt: a.desired.CreatedAt, ChangedAt: a.desired.ChangedAt,
	}
	if a.newest != nil {
		d.Spec = *a.newest
	}
	if a.print != nil {
		d.Spec = *a.print.spec
		d.Spec.Replicas = a.desired.Replicas
	}
	if run := a.engine.queue.of(a.name); run != nil {
		d.JobID = run.job.ID
	}
	if a.failure != nil && a.power == powerFailed {
		d.Reason = a.failure.Error()
	}
	if d.Reason == "" && len(a.replicas) < a.desired.Replicas {
		d.Reason = a.unplaced
	}
	for _, r := range a.replicas {
		v := r.look()
		replica := fleet.ReplicaDetail{
			Name: r.containerName(), Revision: r.print.revision, NodeID: r.node, SandboxID: v.sandbox.id,
			Restarts: v.restarts, LastExit: v.lastExit, Drift: r.care.drift,
		}
		if v.address.IsValid() {
			replica.Address = v.address.String()
			if at, published := v.published[r.print.port]; published { // on the node, of which the port is the half
				replica.Address = netip.AddrPortFrom(v.address, uint16(at)).String()
			}
		}
		replica.Published = v.publishedForEdges()
		if r.publishes() {
			replica.Published = append(replica.Published, publishedPorts(r.print.spec)...)
		}
		if v.lastError != nil && d.Reason == "" && v.state != stateReady {
			d.Reason = v.lastError.Error()
		}
		if r.care.fault != nil && d.Reason == "" {
			d.Reason = r.care.fault.Error()
		}
		d.Detail = append(d.Detail, replica)
	}
	return d
}

func (a *actor) why() fleet.Why {
	w := fleet.Why{Service: a.name, Status: a.status(), Reasons: []string{}, LastWake: a.lastWake, LastSleep: a.lastSleep}
	add := func(format string, args ...any) { w.Reasons = append(w.Reasons, fmt.Sprintf(format, args...)) }
	if a.job != nil {
		add("its job %s (%s) runs", a.job.ID, a.job.Kind)
	}
	switch a.power {
	case powerAwake:
		if a.print == nil {
			break // its first deploy runs
		}
		if v := a.evidence().judge(time.Now()); v.reason != "" {
			add("%s", v.reason)
		} else if a.idleWhy != "" {
			add("%s", a.idleWhy)
		}
	case powerWaking, powerWanted:
		add("requests that wait for it: %d", len(a.waiters))
	case powerFailed:
		if a.failure != nil {
			add("%s", a.failure)
		}
	}
	if a.unplaced != "" && !said(w.Reasons, a.unplaced) {
		add("%s", a.unplaced)
	}
	for _, r := range a.replicas {
		if r.care.stuck != "" && !a.engine.members.answers(r.node) {
			add("%s cannot be placed elsewhere: %s", r.name(), r.care.stuck)
		}
		v := r.look()
		switch {
		case v.lost:
			add("%s gets no requests: neither it nor its node %s answers", r.name(), r.node)
		case v.health() != a.engine.members.healthOn(r.node, v.health()):
			add("%s is of unknown health: neither it nor its node %s answers", r.name(), r.node)
		}
		if v.lastError != nil && v.state != stateReady && !said(w.Reasons, v.lastError.Error()) {
			add("%s: %s", r.name(), v.lastError)
		}
		if r.care.fault != nil && !said(w.Reasons, r.care.fault.Error()) {
			add("%s, and is never restarted", r.care.fault)
		}
		if r.care.sick != nil {
			add("%s fails its health check: %s", r.name(), r.care.sick)
		}
		for _, difference := range r.care.drift {
			add("%s is not what was deployed: %s", r.name(), difference)
		}
	}
	return w
}

// stamp is a time as it stands in a sentence.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// replicaNode returns the node of the first replica, for questions about images.
func (a *actor) replicaNode() string {
	ctx, cancel := context.WithTimeout(a.engine.life, questionTimeout)
	defer cancel()
	node := ""
	err := a.call(ctx, func() {
		if len(a.replicas) > 0 {
			node = a.replicas[0].node
		}
	})
	if err != nil || node == "" {
		names := a.engine.nodeNames()
		node = names[0]
	}
	return node
}
