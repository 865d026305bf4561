package engine

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"edgespawner/fleet"
)

// board holds what the data plane is told. Each change makes a new snapshot;
// the ones before it are never touched.
type board struct {
	current atomic.Pointer[fleet.Snapshot]
	publish func(*fleet.Snapshot)

	mu   sync.Mutex // one change at a time
	open bool       // false: changes are collected and the router is told nothing yet
}

func newBoard(publish func(*fleet.Snapshot)) *board {
	b := &board{publish: publish}
	b.current.Store(&fleet.Snapshot{})
	return b
}

// put replaces what is told of one service, and returns the version that holds it.
func (b *board) put(routed fleet.Routed) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.current.Load()
	at, found := slices.BinarySearchFunc(old.Services, routed.Name, byName)
	services := slices.Clone(old.Services)
	if found {
		services[at] = routed
	} else {
		services = slices.Insert(services, at, routed)
	}
	return b.replace(old, services)
}

// drop takes a service away.
func (b *board) drop(name string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.current.Load()
	at, found := slices.BinarySearchFunc(old.Services, name, byName)
	if !found {
		return old.Version
	}
	return b.replace(old, slices.Delete(slices.Clone(old.Services), at, at+1))
}

func byName(r fleet.Routed, name string) int { return strings.Compare(r.Name, name) }

func (b *board) replace(old *fleet.Snapshot, services []fleet.Routed) uint64 {
	next := &fleet.Snapshot{Version: old.Version + 1, Services: services}
	b.current.Store(next)
	if b.open {
		b.publish(next)
	}
	return next.Version
}

// start lets the router know of all that has been collected, and of each change from now on.
func (b *board) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = true
	b.publish(b.current.Load())
}

// Snapshot returns what the data plane was told last; it is never nil.
func (e *Engine) Snapshot() *fleet.Snapshot { return e.board.current.Load() }
