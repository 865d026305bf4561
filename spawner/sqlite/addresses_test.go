package sqlite

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"edgespawner/fleet"
)

func pool(subnet, excluded, gateway string) fleet.AddressPool {
	p := fleet.AddressPool{Subnet: netip.MustParsePrefix(subnet)}
	if excluded != "" {
		p.Excluded = netip.MustParsePrefix(excluded)
	}
	if gateway != "" {
		p.Gateway = netip.MustParseAddr(gateway)
	}
	return p
}

func taken(t *testing.T, store *Store, p fleet.AddressPool, holder string) string {
	t.Helper()
	lease, err := store.Addresses().Take(t.Context(), "net", p, holder)
	must(t, err)
	if lease.Network != "net" || lease.Holder != holder {
		t.Errorf("got lease %+v", lease)
	}
	return lease.Address.String()
}

func TestAHolderKeepsItsAddressAcrossOpens(t *testing.T) {
	store := openNew(t)
	p := pool("10.1.0.0/24", "10.1.0.128/25", "10.1.0.1")
	first := taken(t, store, p, "api-0.net")
	store = reopen(t, store)
	if again := taken(t, store, p, "api-0.net"); again != first || first != "10.1.0.2" {
		t.Errorf("got %s, then %s", first, again)
	}
	leases, err := store.Addresses().Holders(t.Context())
	must(t, err)
	if len(leases) != 1 || leases[0].Address.String() != first || leases[0].Holder != "api-0.net" || leases[0].Network != "net" {
		t.Errorf("got %+v", leases)
	}
}

func TestTheAddressThatIsFreeForLongestIsGivenFirst(t *testing.T) {
	store := openNew(t)
	p := pool("10.1.0.0/29", "", "10.1.0.6") // 1 to 5
	for i := range 5 {
		taken(t, store, p, fmt.Sprint("h", i))
	}
	for _, holder := range []string{"h3", "h0", "h4"} {
		must(t, store.Addresses().Release(t.Context(), holder))
	}
	store = reopen(t, store)
	for i, want := range []string{"10.1.0.4", "10.1.0.1", "10.1.0.5"} {
		if got := taken(t, store, p, fmt.Sprint("new", i)); got != want {
			t.Errorf("%d: got %s, want %s", i, got, want)
		}
	}
	_, err := store.Addresses().Take(t.Context(), "net", p, "one too many")
	wantKind(t, err, fleet.Unavailable)
}

func TestAnAddressOutsideAChangedPoolIsGivenBackForAnother(t *testing.T) {
	store := openNew(t)
	taken(t, store, pool("10.1.0.0/24", "", ""), "api")
	moved := pool("10.2.0.0/24", "", "")
	if got := taken(t, store, moved, "api"); got != "10.2.0.2" {
		t.Errorf("got %s", got)
	}
	leases, err := store.Addresses().Holders(t.Context())
	must(t, err)
	if len(leases) != 1 {
		t.Errorf("it holds %v", leases)
	}
}

func TestTheSameAddressOnTwoNetworksIsTwoAddresses(t *testing.T) {
	addresses := openNew(t).Addresses()
	p := pool("10.1.0.0/30", "", "10.1.0.1") // one address
	for _, network := range []string{"a", "b"} {
		if _, err := addresses.Take(t.Context(), network, p, "api"); err != nil {
			t.Error(err)
		}
	}
	must(t, addresses.Release(t.Context(), "api"))
	leases, err := addresses.Holders(t.Context())
	must(t, err)
	if len(leases) != 0 {
		t.Errorf("a release left %v", leases)
	}
}

func TestAClaimedAddressIsNotGivenToAnother(t *testing.T) {
	store := openNew(t)
	p := pool("10.1.0.0/29", "", "")
	claim := fleet.Lease{Network: "net", Address: netip.MustParseAddr("10.1.0.2"), Holder: "found"}
	must(t, store.Addresses().Claim(t.Context(), claim))
	must(t, store.Addresses().Claim(t.Context(), claim)) // known already
	if got := taken(t, store, p, "new"); got != "10.1.0.3" {
		t.Errorf("got %s", got)
	}
	claim.Holder = "thief"
	wantKind(t, store.Addresses().Claim(t.Context(), claim), fleet.Conflict)
	claim.Holder, claim.Address = "found", netip.MustParseAddr("10.1.0.4")
	wantKind(t, store.Addresses().Claim(t.Context(), claim), fleet.Conflict)
	must(t, store.Addresses().Release(t.Context(), "found"))
	claim.Address = netip.MustParseAddr("10.1.0.2") // free, and was given before
	must(t, store.Addresses().Claim(t.Context(), claim))
}

func TestNobodyGetsNoAddress(t *testing.T) {
	store := openNew(t)
	if _, err := store.Addresses().Take(t.Context(), "net", pool("10.1.0.0/24", "", ""), ""); err == nil {
		t.Error("an address was given to nobody")
	}
	_, err := store.Addresses().Take(t.Context(), "net", fleet.AddressPool{}, "api")
	wantKind(t, err, fleet.Unavailable)
}

func TestAPoolOfIPv6IsSearchedWithoutListingIt(t *testing.T) {
	if got := taken(t, openNew(t), pool("fd00::/64", "fd00::/65", ""), "api"); got != "fd00::8000:0:0:0" {
		t.Errorf("got %s", got)
	}
}

func TestAddressesTakenAtOnceDiffer(t *testing.T) {
	store := openNew(t)
	p := pool("10.1.0.0/24", "", "")
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if _, err := store.Addresses().Take(t.Context(), "net", p, fmt.Sprint("h", i/2)); err != nil { // two callers a holder
				t.Error(err)
			}
		})
	}
	group.Wait()
	leases, err := store.Addresses().Holders(t.Context())
	must(t, err)
	seen := map[netip.Addr]bool{}
	for _, lease := range leases {
		seen[lease.Address] = true
	}
	if len(leases) != 10 || len(seen) != 10 {
		t.Errorf("got %d leases of %d addresses, want 10", len(leases), len(seen))
	}
}

// model is the plain account of a pool: what is given next, and who has what.
type model struct {
	queue []netip.Addr // free, in the order in which they are to be given
	held  map[string]netip.Addr
}

func newModel(p fleet.AddressPool) *model {
	m := &model{held: map[string]netip.Addr{}}
	var all []netip.Addr
	for a := p.Subnet.Masked().Addr(); p.Subnet.Contains(a); a = a.Next() {
		all = append(all, a)
	}
	for _, a := range all[1 : len(all)-1] { // neither the network nor broadcast
		if !p.Excluded.Contains(a) && a != p.Gateway {
			m.queue = append(m.queue, a)
		}
	}
	return m
}

func TestAddressesAreGivenAsThePlainAccountSays(t *testing.T) {
	directory := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		path := filepath.Join(directory, fmt.Sprint(run, ".db"))
		store, err := Open(t.Context(), path, quiet)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = store.Close(); _ = os.Remove(path) }()
		bits := rapid.IntRange(27, 29).Draw(rt, "bits")
		base := netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 7).Draw(rt, "block") << 5)})
		p := fleet.AddressPool{Subnet: netip.PrefixFrom(base, bits), Excluded: netip.PrefixFrom(base, bits+1)}
		p.Gateway = base
		for range rapid.IntRange(1, 6).Draw(rt, "gateway") {
			p.Gateway = p.Gateway.Next()
		}
		m := newModel(p)
		holder := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		rt.Repeat(map[string]func(*rapid.T){
			"take": func(rt *rapid.T) {
				name := holder.Draw(rt, "holder")
				lease, err := store.Addresses().Take(t.Context(), "net", p, name)
				m.checkTake(rt, name, lease, err)
			},
			"release": func(rt *rapid.T) {
				name := holder.Draw(rt, "holder")
				if err := store.Addresses().Release(t.Context(), name); err != nil {
					rt.Fatal(err)
				}
				if a, ok := m.held[name]; ok {
					delete(m.held, name)
					m.queue = append(m.queue, a)
				}
			},
			"open again": func(rt *rapid.T) {
				if err := store.Close(); err != nil {
					rt.Fatal(err)
				}
				if store, err = Open(t.Context(), path, quiet); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				leases, err := store.Addresses().Holders(t.Context())
				m.checkHolders(rt, leases, err)
			},
		})
	})
}

func (m *model) checkTake(rt *rapid.T, name string, lease fleet.Lease, err error) {
	want, has := m.held[name]
	if !has && len(m.queue) == 0 {
		if fleet.KindOf(err) != fleet.Unavailable {
			rt.Fatalf("nothing is free, but got %v, %v", lease, err)
		}
		return
	}
	if !has {
		want, m.queue = m.queue[0], m.queue[1:]
		m.held[name] = want
	}
	if err != nil || lease.Address != want {
		rt.Fatalf("%s got %v, %v, want %v", name, lease, err, want)
	}
}

func (m *model) checkHolders(rt *rapid.T, leases []fleet.Lease, err error) {
	if err != nil || len(leases) != len(m.held) {
		rt.Fatal(errors.Join(err, fmt.Errorf("got %v, want %v", leases, m.held)))
	}
	for _, lease := range leases {
		if m.held[lease.Holder] != lease.Address {
			rt.Fatalf("%s holds %v, want %v", lease.Holder, lease.Address, m.held[lease.Holder])
		}
	}
}
