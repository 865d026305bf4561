//go:build e2e

package docker

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"edgespawner/fleet"
)

// standby is another spawner of the same fleet on the same engine.
func standby(t *testing.T) *Pool {
	t.Helper()
	p := New(testFleet, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(func() { p.Close() })
	if err := p.Add(fleet.Node{Name: testNode}); err != nil {
		t.Fatal(err)
	}
	return p
}

// acquire asks for the lease and checks the answer.
func acquire(t *testing.T, p *Pool, owner string, wantHeld bool, wantHolder string) {
	t.Helper()
	held, holder, err := p.AcquireLease(t.Context(), testNode, owner)
	if err != nil || held != wantHeld || holder != wantHolder {
		t.Errorf("%s: held %v by %q, %v; want %v by %q", owner, held, holder, err, wantHeld, wantHolder)
	}
}

// age lets the watch of a standby be so much older than it is.
func age(t *testing.T, p *Pool, by time.Duration) {
	t.Helper()
	n, err := p.node(testNode)
	if err != nil {
		t.Fatal(err)
	}
	n.lease.mu.Lock()
	defer n.lease.mu.Unlock()
	n.lease.since = n.lease.since.Add(-by)
}

func TestALeaseHasOneHolder(t *testing.T) {
	one, two := standby(t), standby(t)
	began := time.Now()
	acquire(t, one, "a", true, "a")
	t.Logf("taking it took %s", time.Since(began))
	began = time.Now()
	acquire(t, one, "a", true, "a")
	t.Logf("a refresh took %s", time.Since(began))
	acquire(t, two, "b", false, "a")
	list, err := one.Containers().List(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Labels[fleet.LabelRole] == string(fleet.RoleLease) {
			t.Error("the lease is told among the containers")
		}
	}

	// A holder that lives is not robbed, however old the watch.
	age(t, two, LeaseTTL)
	acquire(t, one, "a", true, "a")
	acquire(t, two, "b", false, "a")
	// One that does not is, once.
	age(t, two, LeaseTTL)
	acquire(t, two, "b", true, "b")
	acquire(t, one, "a", false, "b")
	acquire(t, two, "b", true, "b")

	if err := one.ReleaseLease(t.Context(), testNode); err != nil { // not its own any more
		t.Error(err)
	}
	acquire(t, one, "a", false, "b")
	if err := two.ReleaseLease(t.Context(), testNode); err != nil {
		t.Error(err)
	}
	acquire(t, one, "a", true, "a")
	if err := one.ReleaseLease(t.Context(), testNode); err != nil {
		t.Error(err)
	}
}

func TestARestartedSpawnerHasItsLeaseAtOnceAndTheOldOneYields(t *testing.T) {
	before, after := standby(t), standby(t)
	acquire(t, before, "a", true, "a")
	acquire(t, after, "a", true, "a")
	acquire(t, before, "a", false, "a")
	acquire(t, after, "a", true, "a")
	acquire(t, before, "a", false, "a")
	if err := before.ReleaseLease(t.Context(), testNode); err != nil {
		t.Error(err)
	}
	acquire(t, after, "a", true, "a")
	age(t, before, LeaseTTL) // the beat has changed since: not stale
	acquire(t, before, "a", false, "a")
	age(t, before, LeaseTTL)
	acquire(t, before, "a", true, "a")
	acquire(t, after, "a", false, "a")
	if err := before.ReleaseLease(t.Context(), testNode); err != nil {
		t.Error(err)
	}
}

func TestOfManyWhoTakeAStaleLeaseOneGetsIt(t *testing.T) {
	dead := standby(t)
	for range 5 {
		acquire(t, dead, "dead", true, "dead")
		pools := []*Pool{standby(t), standby(t), standby(t), standby(t)}
		names := []string{"a", "b", "c", "d"}
		for i, p := range pools {
			acquire(t, p, names[i], false, "dead")
			age(t, p, LeaseTTL)
		}
		var all sync.WaitGroup
		held := make([]bool, len(pools))
		for i, p := range pools {
			all.Go(func() {
				var err error
				if held[i], _, err = p.AcquireLease(t.Context(), testNode, names[i]); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		holders := 0
		for i, p := range pools {
			if held[i] {
				holders++
				acquire(t, p, names[i], true, names[i])
				if err := p.ReleaseLease(t.Context(), testNode); err != nil {
					t.Error(err)
				}
			}
		}
		if holders != 1 {
			t.Errorf("%d hold it at once, want 1", holders)
		}
	}
}

func TestAPrunedLeaseIsMadeAgainByItsHolder(t *testing.T) {
	p := standby(t)
	acquire(t, p, "a", true, "a")
	n, err := p.engine(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.client.ContainerRemove(t.Context(), p.leaseName(), container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	acquire(t, p, "a", true, "a")
	if err := p.ReleaseLease(t.Context(), testNode); err != nil {
		t.Error(err)
	}
}

func TestAnEngineThatWasAwayMakesNoLeaseStale(t *testing.T) {
	holder := standby(t)
	acquire(t, holder, "a", true, "a")
	line := newProxy(t)
	watcher := line.pool(t)
	acquire(t, watcher, "b", false, "a")
	age(t, watcher, LeaseTTL-time.Second)
	line.listener.Close()
	line.cut()
	if held, _, err := watcher.AcquireLease(t.Context(), testNode, "b"); err == nil || held {
		t.Errorf("held %v without an engine: %v", held, err)
	}
	n, err := watcher.node(testNode)
	if err != nil {
		t.Fatal(err)
	}
	n.lease.mu.Lock()
	defer n.lease.mu.Unlock()
	if !n.lease.last.IsZero() {
		t.Error("the time without an engine counts")
	}
	if err := holder.ReleaseLease(context.Background(), testNode); err != nil {
		t.Error(err)
	}
}
