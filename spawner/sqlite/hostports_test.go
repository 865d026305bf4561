package sqlite

import (
	"sync"
	"testing"

	"edgespawner/fleet"
)

func TestPortsOfANodeAreGivenOnceAndTheLongestFreeFirst(t *testing.T) {
	store := openNew(t)
	v, ports := store.Addresses(), fleet.PortRange{First: 20000, Last: 20002}
	take := func(node, holder string, want int, avoid ...int) {
		t.Helper()
		got, err := v.TakePort(t.Context(), node, ports, holder, avoid)
		if err != nil || got != want {
			t.Errorf("%s on %s got %d, %v; want %d", holder, node, got, err, want)
		}
	}
	take("a", "a/web-0.net", 20001, 20000)
	take("a", "a/web-1.net", 20000)
	take("b", "b/web-0.net", 20000)
	take("a", "a/web-2.net", 20002)
	_, err := v.TakePort(t.Context(), "a", ports, "a/web-3.net", nil)
	wantKind(t, err, fleet.Conflict)
	must(t, v.Release(t.Context(), "a/web-2.net"))
	must(t, v.Release(t.Context(), "a/web-0.net"))
	v = reopen(t, store).Addresses()
	take("a", "a/api-0.net", 20002)
	take("a", "a/api-1.net", 20001)
	must(t, v.ClaimPort(t.Context(), "a", 20005, "a/old.net"))
	wantKind(t, v.ClaimPort(t.Context(), "a", 20002, "a/old.net"), fleet.Conflict)
}

func TestPortsAreNotGivenTwiceByDeploysSideBySide(t *testing.T) {
	v := openNew(t).Addresses()
	var mu sync.Mutex
	given := map[int]int{}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			port, err := v.TakePort(t.Context(), "a", fleet.PortRange{First: 1000, Last: 1999}, "somebody", nil)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			given[port]++
		})
	}
	group.Wait()
	if len(given) != 20 {
		t.Errorf("20 takers got %v", given)
	}
}
