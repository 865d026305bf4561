package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// member is one node that is followed. What its engine says of it and how it is
// judged its follower (follow.go) writes; what the user says of it, the verbs of
// nodes (node.go, updatenode.go).
type member struct {
	name   string
	stop   context.CancelFunc // ends its follower
	met    chan struct{}      // closed when it has answered for the first time, and may get replicas
	meets  sync.Once          // closes met
	ended  chan struct{}      // closed when its follower has returned
	rounds chan bool          // outcomes of rounds of probes while it is silent

	mu        sync.Mutex
	node      fleet.Node    // as it was last told, but for its state
	stock     fleet.Stock   // as it was last told
	stocked   time.Time     // when that was
	judge     judge         // knows the state
	silent    chan struct{} // closed while its engine does not answer
	taken     bool          // what was found on it at the start has been taken up
	probing   bool          // a round is under way
	asking    bool          // it is being asked whether its swarm works again
	removed   bool          // it is being forgotten: nothing new is put there
	ranOut    string        // why it gets nothing new until restsTill
	restsTill time.Time
}

func newMember(node fleet.Node, limits FailureLimits, stop context.CancelFunc) *member {
	return &member{
		name: node.Name, stop: stop, met: make(chan struct{}), ended: make(chan struct{}), rounds: make(chan bool, 1),
		node: node, judge: newJudge(limits), silent: make(chan struct{}),
	}
}

// look is the node as it was last told.
func (m *member) look() fleet.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.node
	node.State = m.judge.state
	node.Labels = maps.Clone(m.node.Labels)
	return node
}

// inStock is what the node has, as it was last told, its ports for portsLast. It is not changed.
func (m *member) inStock() fleet.Stock {
	m.mu.Lock()
	defer m.mu.Unlock()
	stock := m.stock
	if time.Since(m.stocked) > portsLast {
		stock.Ports = nil
	}
	return stock
}

// closed says why the node takes nothing new; empty = it does.
func (m *member) closed(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.judge.state == fleet.NodeUnknown:
		return "not heard of yet"
	case m.judge.state != fleet.NodeReady:
		return "not answering"
	case m.node.Draining:
		return "draining"
	}
	return m.restsLocked(now)
}

// rests says why a node that is ready takes nothing new for a while; empty = it does.
func (m *member) rests(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restsLocked(now)
}

func (m *member) restsLocked(now time.Time) string {
	switch {
	case m.judge.settling(now):
		return "back so often that it has to prove itself"
	case now.Before(m.restsTill):
		return m.ranOut
	}
	return ""
}

// rest lets the node get nothing new until then.
func (m *member) rest(why string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ranOut, m.restsTill = why, until
}

// waits says why the networks that nodes share cannot be used on the node yet; empty = they can.
func (m *member) waits() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node.SwarmWaits()
}

// heard says whether its engine has said who it is.
func (m *member) heard() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.node.SeenAt.IsZero()
}

// told takes what the engine says of itself; what the user said of the node stays.
func (m *member) told(info fleet.Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node.EngineID, m.node.Version = info.EngineID, info.Version
	m.node.Platform = info.Platform
	m.node.CPUs, m.node.MemoryMB, m.node.SeenAt = info.CPUs, info.MemoryMB, info.SeenAt
	m.node.Swarm = info.Swarm
	m.node.Note = ""
}

// update takes what the user says of the node now.
func (m *member) update(node fleet.Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node.Endpoint, m.node.Address, m.node.Labels = node.Endpoint, node.Address, node.Labels
}

func (m *member) setDraining(draining bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node.Draining, m.node.Note = draining, ""
}

// note says what is wrong with the node.
func (m *member) note(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node.Note = text
}

func (m *member) isRemoved() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.removed
}

func (m *member) setRemoved(removed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removed = removed
}

// judged lets the judge take something in, and returns the state before and after.
func (m *member) judged(take func(j *judge)) (before, after fleet.NodeState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before = m.judge.state
	answered := m.answersLocked()
	take(&m.judge)
	switch answers := m.answersLocked(); {
	case answered && !answers:
		close(m.silent)
	case !answered && answers:
		m.silent = make(chan struct{})
	}
	return before, m.judge.state
}

// answersLocked says whether the engine can be asked for something: it answers,
// or nobody has tried yet.
func (m *member) answersLocked() bool {
	return m.judge.state == fleet.NodeReady || m.judge.state == fleet.NodeUnknown
}

// silence is closed while the node's engine does not answer.
func (m *member) silence() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.silent
}

// members are the nodes that are followed, by name.
type members struct {
	mu     sync.RWMutex
	of     map[string]*member
	sorted []*member // the same by name; never changed, but replaced
	frozen bool      // most of them are silent, which is taken for a fault of our own
}

func (s *members) get(name string) (*member, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, ok := s.of[name]
	return m, ok
}

// list returns them by name. The list is never changed.
func (s *members) list() []*member {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sorted
}

// putLocked adds a node, dropLocked takes one away.
func (s *members) putLocked(m *member) {
	s.of[m.name] = m
	s.sortLocked()
}

func (s *members) dropLocked(name string) {
	delete(s.of, name)
	s.sortLocked()
}

func (s *members) sortLocked() {
	list := make([]*member, 0, len(s.of))
	for _, name := range slices.Sorted(maps.Keys(s.of)) {
		list = append(list, s.of[name])
	}
	s.sorted = list
}

// silence is closed while a node's engine does not answer; also for a node that is not known.
func (s *members) silence(name string) <-chan struct{} {
	if m, ok := s.get(name); ok {
		return m.silence()
	}
	return closed
}

// answers says whether a node's engine can be asked for something.
func (s *members) answers(name string) bool {
	select {
	case <-s.silence(name):
		return false
	default:
		return true
	}
}

func silentError(node string) error {
	return fleet.Errorf(fleet.Unavailable, "node %s does not answer", node)
}

// whileAnswers does something that a node is asked for, until its engine falls
// silent: then the error is Unavailable.
func (e *Engine) whileAnswers(ctx context.Context, node string, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent, silence := e.members.silence(node), silentError(node)
	e.group.Go(func() {
		select {
		case <-silent:
			cancel(silence)
		case <-ctx.Done():
		}
	})
	err := do(ctx)
	if err != nil && context.Cause(ctx) == silence {
		return silence
	}
	return err
}

// healthOn is the health of a replica on a node: unknown where nothing answers for a while, whatever is concluded of that.
func (s *members) healthOn(node string, health fleet.Health) fleet.Health {
	m, ok := s.get(node)
	if !ok {
		return health
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if health == fleet.Healthy && m.judge.muted {
		return fleet.Unknown
	}
	return health
}

// allAnswer says whether every node answers, so that none will be better by itself.
func (e *Engine) allAnswer() bool {
	return !slices.ContainsFunc(e.members.list(), func(m *member) bool { return m.look().State != fleet.NodeReady })
}

// nodeNames are the names of the nodes, those that answer first.
func (e *Engine) nodeNames() []string {
	var answering, others []string
	for _, m := range e.members.list() {
		if m.look().State == fleet.NodeReady {
			answering = append(answering, m.name)
		} else {
			others = append(others, m.name)
		}
	}
	return append(answering, others...)
}

// Nodes returns the nodes by name, with what runs on each. No engine is asked.
func (e *Engine) Nodes(context.Context) ([]fleet.Node, error) {
	count, reserved, now := e.ledger.count(), e.ledger.reserved(), time.Now()
	members := e.members.list()
	list := make([]fleet.Node, len(members))
	for i, m := range members {
		list[i] = m.look()
		if why := m.rests(now); why != "" && list[i].Note == "" && list[i].State == fleet.NodeReady {
			list[i].Note = "gets nothing new for a while: " + why
		}
		list[i].Replicas, list[i].Reserved = count[m.name], reserved[m.name]
	}
	return list, nil
}

// actorsOn are the actors of the services that have something on a node.
func (e *Engine) actorsOn(node string) []*actor {
	names := e.ledger.servicesOn(node)
	list := make([]*actor, 0, len(names))
	for name := range names {
		if a, ok := e.actor(name); ok {
			list = append(list, a)
		}
	}
	return list
}
