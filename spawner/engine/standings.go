package engine

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// standings stores where replicas stand, off the path of requests: for a start at
// which a node does not answer, whose replicas go on serving.
type standings struct {
	store Standings
	log   *slog.Logger

	mu    sync.Mutex
	put   map[string]fleet.Standing // by node and app; what is not stored yet
	drop  map[string]fleet.Standing
	nudge chan struct{} // capacity 1
}

func newStandings(store Standings, log *slog.Logger) *standings {
	return &standings{store: store, log: log, put: map[string]fleet.Standing{}, drop: map[string]fleet.Standing{}, nudge: make(chan struct{}, 1)}
}

func (s *standings) change(standing fleet.Standing, there bool) {
	key := standing.Node + "/" + standing.AppName
	s.mu.Lock()
	delete(s.put, key)
	delete(s.drop, key)
	if there {
		s.put[key] = standing
	} else {
		s.drop[key] = standing
	}
	s.mu.Unlock()
	poke(s.nudge)
}

func (s *standings) run(ctx context.Context) { flushWhenNudged(ctx, s.nudge, 0, s.flush) }

// flush stores what has changed; false = it has not been stored yet.
func (s *standings) flush() bool {
	s.mu.Lock()
	put, drop := s.put, s.drop
	s.put, s.drop = map[string]fleet.Standing{}, map[string]fleet.Standing{}
	s.mu.Unlock()
	if len(put)+len(drop) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	err := s.store.Change(ctx, slices.Collect(maps.Values(put)), slices.Collect(maps.Values(drop)))
	if err != nil {
		s.log.Error("Cannot store where replicas stand", "error", err)
		s.again(put, drop)
	}
	return err == nil
}

// again keeps what could not be stored for the next attempt, but for what has changed since.
func (s *standings) again(put, drop map[string]fleet.Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(put, s.put)
	maps.Copy(drop, s.drop)
	for key := range s.drop {
		delete(put, key)
	}
	for key := range s.put {
		delete(drop, key)
	}
	s.put, s.drop = put, drop
}

// noteStanding lets the store know where the replica stands, if that has changed.
func (r *replica) noteStanding() {
	r.mu.Lock()
	now := fleet.Standing{
		Service: r.service, Index: r.index, Revision: r.print.revision, Hash: r.print.hash, Node: r.node,
		AppID: r.app.id, AppName: r.app.name, SandboxID: r.sandbox.id, SandboxName: r.sandbox.name,
		Address: r.address, Published: r.published, HostPorts: r.publish && !r.unpublished,
	}
	before := r.stands
	if now.AppID == "" {
		now = fleet.Standing{}
	}
	r.stands = now
	r.mu.Unlock()
	if reflect.DeepEqual(before, now) {
		return
	}
	if before.AppID != "" && before.AppName != now.AppName {
		r.engine.standings.change(before, false)
	}
	if now.AppID != "" {
		r.engine.standings.change(now, true)
	}
}

// assume returns what is stored of the replicas on nodes that have not answered,
// by service, and forgets what is stored of the others: those were looked at.
func (e *Engine) assume(ctx context.Context) (map[string][]fleet.Standing, error) {
	list, err := e.standings.store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list where replicas stand: %w", err)
	}
	assumed := map[string][]fleet.Standing{}
	for _, s := range list {
		if e.heardOf(s.Node) {
			e.standings.change(s, false)
			continue
		}
		assumed[s.Service] = append(assumed[s.Service], s)
	}
	return assumed, nil
}

// assumeReplica makes a replica of what is stored of it: its node does not
// answer. In a service that is awake it is taken for ready until the probes of
// its node say otherwise.
func (e *Engine) assumeReplica(a *actor, s fleet.Standing, print *blueprint, power fleet.Power) *replica {
	r := e.newReplica(a, s.Index, e.ledger.hold(s.Node, print.spec, s.Index), print, s.HostPorts)
	e.names.claim(s.Node, s.AppName)
	e.names.claim(s.Node, s.SandboxName)
	r.assumed, r.fixedAddress, r.stands = true, true, s
	r.app = container{id: s.AppID, name: s.AppName}
	r.holdSandbox(container{id: s.SandboxID, name: s.SandboxName, running: power != fleet.PowerDeep})
	r.address, r.published = s.Address, s.Published
	if s.Published != nil {
		r.reach = s.Address
	}
	switch power {
	case fleet.PowerAwake:
		r.want, r.readyAt = wantUp, time.Now()
		r.upSince = r.readyAt
		r.setStateLocked(stateReady)
	case fleet.PowerDozing:
		r.want = wantPaused
		r.setStateLocked(statePaused)
	}
	e.group.Go(func() { r.drive(e.life) })
	return r
}
