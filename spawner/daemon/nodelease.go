package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/docker"
)

// nodeLeases keep a second spawner of the same fleet off the nodes that this one
// looks after, wherever that spawner runs: one lease on each of them, beside the
// one on the spawner's own node. An engine that is silent is no obstacle; when it
// answers and is somebody else's, this spawner ends, and stands by when it is
// started again.
type nodeLeases struct {
	leases leases
	owner  string
	names  func() []string // of the nodes, without the spawner's own
	log    *slog.Logger

	mu   sync.Mutex
	busy map[string]bool // a look at the lease of that node is under way
	lost map[string]int  // looks in a row that found somebody else's
}

const (
	// leasePatience bounds a look at a node's lease before the spawner serves:
	// nobody waits longer for a silent one.
	leasePatience = 1500 * time.Millisecond
	// leaseLooks is how often in a row a lease is to be somebody else's before it
	// counts as lost: one who stands by may hold it for a moment.
	leaseLooks = 3
	// joinPatience is long enough to see that a lease has no holder any more.
	joinPatience = docker.LeaseTTL + 2*docker.LeaseRefresh
)

// take gets the lease of an engine that is to become a node. Conflict when
// another spawner of this fleet looks after it.
func (l *nodeLeases) take(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	for {
		held, holder, err := l.leases.AcquireLease(ctx, node, l.owner)
		if held || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-time.After(docker.LeaseRefresh):
		case <-ctx.Done():
			return fleet.Errorf(fleet.Conflict, "another spawner of this fleet (%s) looks after that engine", holder).About("endpoint")
		}
	}
}

// acquire waits until no node that answers is somebody else's; false without an
// error when ctx ends before. While it waits it holds none.
func (l *nodeLeases) acquire(ctx context.Context) (bool, error) {
	told := false
	for {
		held, others := l.lookAll(ctx)
		switch {
		case ctx.Err() != nil:
			return false, nil
		case len(others) == 0:
			return true, nil
		case !told:
			l.log.Warn("Standing by: another spawner of this fleet looks after these nodes", "nodes", others)
			told = true
		}
		l.releaseAll(held)
		select {
		case <-time.After(docker.LeaseRefresh):
		case <-ctx.Done():
			return false, nil
		}
	}
}

// lookAll looks at all leases and returns the nodes whose lease is ours, and those whose is somebody else's.
func (l *nodeLeases) lookAll(ctx context.Context) (ours, others []string) {
	bounded, cancel := context.WithTimeout(ctx, leasePatience)
	defer cancel()
	var mu sync.Mutex
	var looking sync.WaitGroup
	for _, name := range l.names() {
		looking.Go(func() {
			held, _, err := l.leases.AcquireLease(bounded, name, l.owner)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				l.log.Warn("Cannot look at the lease of a node", "node", name, "error", err)
			case held:
				ours = append(ours, name)
			default:
				others = append(others, name)
			}
		})
	}
	looking.Wait()
	slices.Sort(others)
	return ours, others
}

// keep refreshes the leases until ctx ends, each for itself: a slow engine
// delays no other's.
func (l *nodeLeases) keep(ctx context.Context) error {
	tick := time.NewTicker(docker.LeaseRefresh)
	defer tick.Stop()
	failed := make(chan error, 1)
	var looking sync.WaitGroup
	defer looking.Wait()
	for {
		select {
		case <-tick.C:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
		for _, name := range l.names() {
			if !l.begin(name) {
				continue
			}
			looking.Go(func() {
				if err := l.refresh(ctx, name); err != nil {
					select {
					case failed <- err:
					default: // one is enough
					}
				}
			})
		}
	}
}

// begin says whether a node's lease may be looked at now.
func (l *nodeLeases) begin(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[name] {
		return false
	}
	if l.busy == nil {
		l.busy, l.lost = map[string]bool{}, map[string]int{}
	}
	l.busy[name] = true
	return true
}

// refresh looks at one lease; the error is a lease that was lost.
func (l *nodeLeases) refresh(ctx context.Context, name string) error {
	held, holder, err := l.leases.AcquireLease(ctx, name, l.owner)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, name)
	switch {
	case err != nil:
		l.log.Debug("Cannot refresh the lease of a node", "node", name, "error", err)
		return nil
	case held || !slices.Contains(l.names(), name):
		delete(l.lost, name)
		return nil
	}
	l.lost[name]++
	if l.lost[name] < leaseLooks {
		return nil
	}
	return fmt.Errorf("%w: node %s is looked after by %s", errLeaseLost, name, holder)
}

// release gives a node's lease back.
func (l *nodeLeases) release(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), docker.LeaseRefresh)
	defer cancel()
	if err := l.leases.ReleaseLease(ctx, name); err != nil {
		l.log.Debug("Cannot give the lease of a node back", "node", name, "error", err)
	}
}

func (l *nodeLeases) releaseAll(names []string) {
	var releasing sync.WaitGroup
	for _, name := range names {
		releasing.Go(func() { l.release(name) })
	}
	releasing.Wait()
}

// others are the nodes but for the spawner's own, in order.
func (n *nodes) others() []string {
	return slices.DeleteFunc(n.names(), func(name string) bool { return name == n.own })
}
