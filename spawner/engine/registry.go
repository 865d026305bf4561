package engine

import (
	"context"
	"sync"

	"edgespawner/fleet"
)

// names holds the container names in use on each node, so that two replicas
// never try for the same one and never take each other's addresses.
type names struct {
	mu    sync.Mutex
	taken map[string]bool // by node and name
}

// claim takes a name; false when it is taken already.
func (n *names) claim(node, name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := node + "/" + name
	if n.taken[key] {
		return false
	}
	n.taken[key] = true
	return true
}

// has says whether a name is taken.
func (n *names) has(node, name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.taken[node+"/"+name]
}

func (n *names) release(node, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taken, node+"/"+name)
}

// users counts who uses a shared thing: a sandbox that two apps are joined to
// while one replaces the other, or a network that replicas are on.
type users struct {
	mu sync.Mutex
	of map[string]map[*replica]bool
}

func (u *users) join(thing string, r *replica) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of[thing] == nil {
		u.of[thing] = map[*replica]bool{}
	}
	u.of[thing][r] = true
}

// leave says whether r was the last user.
func (u *users) leave(thing string, r *replica) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.of[thing], r)
	if len(u.of[thing]) > 0 {
		return false
	}
	delete(u.of, thing)
	return true
}

// turns lets so many things run at a time on each node: beyond that all of them
// would wait longer and none be done sooner, or they would meet each other.
type turns struct {
	limit func(node string) int

	mu    sync.Mutex
	slots map[string]chan struct{}
}

func newTurns(limit func(node string) int) *turns {
	return &turns{limit: limit, slots: map[string]chan struct{}{}}
}

// oneAtATime is the limit of what must not meet another of its kind on a node.
func oneAtATime(string) int { return 1 }

// acquire waits for a node's slot until ctx ends.
func (s *turns) acquire(ctx context.Context, node string) (release func(), err error) {
	s.mu.Lock()
	slots, ok := s.slots[node]
	if !ok {
		slots = make(chan struct{}, max(1, s.limit(node)))
		s.slots[node] = slots
	}
	s.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		if err := context.Cause(ctx); err != context.DeadlineExceeded {
			return nil, err
		}
		return nil, fleet.Errorf(fleet.Unavailable, "node %s was busy with others for too long", node)
	}
}
