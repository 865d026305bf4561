package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/docker"
)

// leasesOf are the leases of several engines, by node: who has each, "" = nobody.
type leasesOf struct {
	mu     sync.Mutex
	holder map[string]string
	frozen map[string]bool // its engine does not answer until the caller leaves
	looks  map[string]int
	asked  func() // at each look; nil = nothing
}

func (f *leasesOf) AcquireLease(ctx context.Context, node, owner string) (bool, string, error) {
	f.mu.Lock()
	if f.frozen[node] {
		f.mu.Unlock()
		<-ctx.Done()
		return false, "", ctx.Err()
	}
	defer f.mu.Unlock()
	f.looks[node]++
	if f.asked != nil {
		f.asked()
	}
	if f.holder[node] == "" {
		f.holder[node] = owner
	}
	return f.holder[node] == owner, f.holder[node], nil
}

func (f *leasesOf) ReleaseLease(_ context.Context, node string) error {
	f.set(node, "")
	return nil
}

func (f *leasesOf) set(node, holder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holder[node] = holder
}

func (f *leasesOf) has(node string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.holder[node]
}

func leasesOver(nodes ...string) (*nodeLeases, *leasesOf) {
	f := &leasesOf{holder: map[string]string{}, frozen: map[string]bool{}, looks: map[string]int{}}
	return &nodeLeases{leases: f, owner: "us", names: func() []string { return nodes }, log: slog.New(slog.DiscardHandler)}, f
}

func TestASpawnerStandsByWhileAnyOfItsNodesIsSomebodyElsesAndHoldsNoneMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := leasesOver("a", "b")
		f.set("b", "them")
		acquired := make(chan bool, 1)
		go func() {
			held, _ := l.acquire(t.Context())
			acquired <- held
		}()
		time.Sleep(10 * docker.LeaseRefresh)
		synctest.Wait()
		if len(acquired) > 0 || f.has("a") != "" {
			t.Errorf("it goes on: %d; a is held by %q", len(acquired), f.has("a"))
		}
		f.set("b", "")
		if !<-acquired || f.has("a") != "us" || f.has("b") != "us" {
			t.Errorf("a is held by %q, b by %q", f.has("a"), f.has("b"))
		}
	})
}

func TestASilentNodeKeepsNoSpawnerFromStartingAndDelaysNoOtherLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := leasesOver("a", "frozen")
		f.frozen["frozen"] = true
		began := time.Now()
		if held, err := l.acquire(t.Context()); !held || err != nil || time.Since(began) > leasePatience {
			t.Errorf("got %v, %v after %s", held, err, time.Since(began))
		}
		ctx, end := context.WithTimeout(t.Context(), 10*docker.LeaseRefresh+time.Second)
		defer end()
		if err := l.keep(ctx); err != nil {
			t.Error(err)
		}
		if f.looks["a"] != 11 {
			t.Errorf("the lease of a was looked at %d times", f.looks["a"])
		}
	})
}

func TestASpawnerEndsWhenANodeStaysSomebodyElsesNotWhenItIsForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := leasesOver("a", "b")
		if held, err := l.acquire(t.Context()); !held || err != nil {
			t.Fatal(held, err)
		}
		ended := make(chan error, 1)
		go func() { ended <- l.keep(t.Context()) }()
		f.set("b", "them")
		time.Sleep(2*docker.LeaseRefresh + time.Second)
		f.set("b", "")
		time.Sleep(10 * docker.LeaseRefresh)
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatalf("it ended: %v", <-ended)
		}
		f.set("b", "them")
		began := time.Now()
		if err := <-ended; !errors.Is(err, errLeaseLost) || time.Since(began) > (leaseLooks+1)*docker.LeaseRefresh {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestAnEngineOfAnotherSpawnerOfThisFleetDoesNotJoin(t *testing.T) {
	i := openNodes(t, t.TempDir(), engineOf(t, "E1", "1.41"))
	ctx, cancel := context.WithCancel(t.Context())
	f := &leasesOf{holder: map[string]string{"n2": "them"}, looks: map[string]int{}, asked: cancel} // a user who does not wait for the lease to grow stale
	i.nodes.leases.leases = f
	endpoint := engineOf(t, "E2", "1.41")
	_, err := i.nodes.AddNode(ctx, fleet.NodeSpec{Name: "n2", Endpoint: endpoint}, "me")
	refused(t, err, fleet.Conflict, "endpoint", "another spawner of this fleet (them)")
	if got := i.nodes.names(); !slices.Equal(got, []string{"local"}) || len(i.follow.told) > 0 {
		t.Errorf("nodes %q, told %q", got, i.follow.told)
	}
	f.set("n2", "")
	if _, err := i.nodes.AddNode(t.Context(), fleet.NodeSpec{Name: "n2", Endpoint: endpoint}, "me"); err != nil || f.has("n2") != "us" {
		t.Errorf("got %v, held by %q", err, f.has("n2"))
	}
	if err := i.nodes.RemoveNode(t.Context(), "n2", false, "me"); err != nil || f.has("n2") != "" {
		t.Errorf("got %v, held by %q", err, f.has("n2"))
	}
}
