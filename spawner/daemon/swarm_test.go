package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
)

// fakeSwarm is engines that may be joined, as Docker would let them.
type fakeSwarm struct {
	engines map[string]*fakeMember // by node
	begun   int
	calls   []string
}

type fakeMember struct {
	joined, manager, silent bool
	changing                int // so many looks still find it on its way
}

// slow says whether a look finds a member on its way to what it is to be.
func (e *fakeMember) slow() bool {
	e.changing = max(0, e.changing-1)
	return e.changing > 0
}

func (f *fakeSwarm) info(_ context.Context, node string) (fleet.Node, error) {
	e := f.engines[node]
	if e.silent {
		return fleet.Node{Name: node, State: fleet.NodeSilent}, fleet.Errorf(fleet.Unavailable, "node %s does not answer", node)
	}
	told := fleet.Node{Name: node}
	if e.joined {
		told.Swarm = &fleet.NodeSwarm{ID: "id-" + node, Manager: e.manager}
	}
	return told, nil
}

// quorum is what Docker needs to change anything.
func (f *fakeSwarm) quorum() error {
	all, up := 0, 0
	for _, e := range f.engines {
		if e.joined && e.manager {
			all++
			if !e.silent {
				up++
			}
		}
	}
	if 2*up <= all {
		return fleet.Errorf(fleet.Unavailable, "the swarm does not have a leader")
	}
	return nil
}

func (f *fakeSwarm) Init(_ context.Context, node, address string) error {
	f.begun++
	f.engines[node].joined, f.engines[node].manager = true, true
	return nil
}

func (f *fakeSwarm) Join(_ context.Context, node, address, manager string) error {
	if address == "" || !f.engines[manager].manager {
		return fmt.Errorf("cannot join at %q by %s", address, manager)
	}
	f.engines[node].joined = true
	return f.quorum()
}

func (f *fakeSwarm) Leave(_ context.Context, node string) error {
	if f.engines[node].silent {
		return fleet.Errorf(fleet.Unavailable, "silent")
	}
	f.engines[node].joined, f.engines[node].manager = false, false
	return nil
}

func (f *fakeSwarm) Members(_ context.Context, manager string) ([]fleet.SwarmMember, error) {
	var list []fleet.SwarmMember
	for _, name := range slices.Sorted(maps.Keys(f.engines)) {
		if e := f.engines[name]; e.joined {
			list = append(list, fleet.SwarmMember{ID: "id-" + name, Manager: e.manager, Settled: !e.slow(), Up: !e.silent, Leader: name == manager, Address: "10.0.0." + strings.TrimPrefix(name, "n")})
		}
	}
	return list, f.quorum()
}

func (f *fakeSwarm) SetManager(_ context.Context, _, id string, wanted bool) error {
	for name, e := range f.engines {
		if e.changing > 0 {
			return fmt.Errorf("%s is to change while %s is on its way", id, name)
		}
	}
	f.calls = append(f.calls, fmt.Sprintf("%s manager=%t", id, wanted))
	e := f.engines[strings.TrimPrefix(id, "id-")]
	if e.manager != wanted {
		e.changing = 3
	}
	e.manager = wanted
	return f.quorum()
}

func (f *fakeSwarm) Forget(_ context.Context, _, id string) error {
	f.engines[strings.TrimPrefix(id, "id-")].joined = false
	return f.quorum()
}

func (f *fakeSwarm) managers() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(f.engines)) {
		if e := f.engines[name]; e.joined && e.manager {
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

// fakeNodes are n1 (the spawner's own) to n9.
func fakeNodes() (*fakeSwarm, *swarmKeeper) {
	f := &fakeSwarm{engines: map[string]*fakeMember{}}
	for i := range 9 {
		f.engines[fmt.Sprintf("n%d", i+1)] = &fakeMember{}
	}
	k := &swarmKeeper{swarm: f, info: f.info, own: "n1", attend: attendsAt("10.9.0.2/16"), record: func(fleet.Event) {}, log: slog.New(slog.DiscardHandler)}
	k.nodes = func() []fleet.StoredNode {
		var list []fleet.StoredNode
		for _, name := range slices.Sorted(maps.Keys(f.engines)) {
			if f.engines[name].joined {
				list = append(list, stored(name))
			}
		}
		return list
	}
	return f, k
}

// attendsAt is the attendance of a process that has the address, where the
// spawner's container has 10.9.0.2.
func attendsAt(own string) attendance {
	return attendance{
		attendants: func(context.Context, string) ([]fleet.Container, error) {
			return []fleet.Container{{Name: "spawner", Addresses: map[string]netip.Addr{"control": netip.MustParseAddr("10.9.0.2")}}}, nil
		},
		addresses: func() ([]net.Addr, error) {
			address, network, err := net.ParseCIDR(own)
			return []net.Addr{&net.IPNet{IP: address, Mask: network.Mask}}, err
		},
	}
}

func TestASpawnerThatNoSharedNetworkReachesJoinsNobody(t *testing.T) {
	f, k := fakeNodes()
	k.attend = attendsAt("10.9.0.1/16")
	_, err := k.join(t.Context(), stored("n1"), stored("n2"))
	refused(t, err, fleet.Conflict, "join_network", "outside of a container of node n1")
	if f.begun != 0 || f.engines["n2"].joined {
		t.Error("it was joined")
	}
	k.attend = attendsAt("10.9.0.2/16")
	joinAll(t, k, "n2")
	if !f.engines["n2"].joined {
		t.Error("from within a container it is not joined")
	}
}

func stored(name string) fleet.StoredNode {
	return fleet.StoredNode{Node: fleet.Node{Name: name, Address: "10.0.0." + strings.TrimPrefix(name, "n")}}
}

func joinAll(t *testing.T, k *swarmKeeper, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := k.join(t.Context(), stored("n1"), stored(name)); err != nil {
			t.Fatal(err)
		}
		if err := k.balance(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASwarmKeepsAsManyManagersAsItsNodesSufficeFor(t *testing.T) {
	synctest.Test(t, growAndShrink)
}

// growAndShrink takes a swarm to seven nodes and back to one.
func growAndShrink(t *testing.T) {
	f, k := fakeNodes()
	for _, step := range []struct{ join, leave, managers string }{
		{"n2", "", "n1"},
		{"n3", "", "n1 n2 n3"},
		{"n4", "", "n1 n2 n3"},
		{"n5", "", "n1 n2 n3"},
		{"n6", "", "n1 n2 n3"},
		{"n7", "", "n1 n2 n3 n4 n5"},
		{"", "n2", "n1 n3 n4"},
		{"", "n3", "n1 n4 n5"},
		{"", "n4", "n1 n5 n6"},
		{"", "n5", "n1 n6 n7"},
		{"", "n6", "n1"},
		{"", "n7", "n1"},
	} {
		if step.join != "" {
			joinAll(t, k, step.join)
		} else if err := k.leave(t.Context(), stored(step.leave)); err != nil {
			t.Fatal(err)
		}
		if got := f.managers(); got != step.managers {
			t.Errorf("after %+v: managers %s", step, got)
		}
	}
	if f.begun != 1 {
		t.Errorf("%d swarms were begun", f.begun)
	}
}

func TestAManagerThatIsAwayIsReplacedOnlyAfterAWhileAndOnlyIfAnotherCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, k := fakeNodes()
		joinAll(t, k, "n2", "n3", "n4")
		f.engines["n2"].silent = true
		look := func(want string) {
			t.Helper()
			if err := k.balance(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := f.managers(); got != want {
				t.Errorf("managers %s, want %s", got, want)
			}
		}
		look("n1 n2 n3")
		time.Sleep(swarmPatience / 2)
		look("n1 n2 n3")
		f.engines["n2"].silent = false // it flaps: the time begins anew
		look("n1 n2 n3")
		f.engines["n2"].silent = true
		look("n1 n2 n3")
		time.Sleep(swarmPatience / 2)
		look("n1 n2 n3")
		time.Sleep(swarmPatience / 2)
		look("n1 n3 n4")
		f.engines["n3"].silent = true // nobody is left to take its place
		look("n1 n3 n4")
		time.Sleep(swarmPatience)
		look("n1 n3 n4")
		f.engines["n2"].silent = false
		look("n1 n2 n4")
	})
}

func TestANodeThatIsSilentCanLeaveTheSwarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, k := fakeNodes()
		var events []string
		k.record = func(e fleet.Event) { events = append(events, e.Message) }
		joinAll(t, k, "n2", "n3", "n4")
		f.engines["n3"].silent = true
		if err := k.leave(t.Context(), stored("n3")); err != nil {
			t.Fatal(err)
		}
		if got := f.managers(); got != "n1 n2 n4" {
			t.Errorf("managers %s", got)
		}
		if last := events[len(events)-1]; !strings.Contains(last, "docker swarm leave --force") {
			t.Errorf("events %q", events)
		}
	})
}

func TestWhatKeepsANodeOutOfTheSwarmIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, k := fakeNodes()
		_, err := k.join(t.Context(), fleet.StoredNode{Node: fleet.Node{Name: "n1"}}, stored("n2"))
		refused(t, err, fleet.Invalid, "join_network", "--node-address")
		joinAll(t, k, "n2")
		elsewhere := &fakeMember{joined: true}
		f.engines["n3"] = elsewhere
		k.swarm = &otherSwarm{fakeSwarm: f, hidden: "id-n3"}
		_, err = k.join(t.Context(), stored("n1"), stored("n3"))
		refused(t, err, fleet.Conflict, "join_network", "in another swarm")
	})
}

// otherSwarm does not know one of the engines.
type otherSwarm struct {
	*fakeSwarm
	hidden string
}

func (o *otherSwarm) Members(ctx context.Context, manager string) ([]fleet.SwarmMember, error) {
	list, err := o.fakeSwarm.Members(ctx, manager)
	return slices.DeleteFunc(list, func(m fleet.SwarmMember) bool { return m.ID == o.hidden }), err
}

func TestTheManagersOfSomebodyElsesSwarmAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, k := fakeNodes()
		f.engines["n1"].joined, f.engines["n1"].manager = true, true
		joined := []fleet.StoredNode{}
		k.nodes = func() []fleet.StoredNode { return joined } // the own node has not joined by us
		for _, name := range []string{"n2", "n3", "n4"} {
			if begun, err := k.join(t.Context(), stored("n1"), stored(name)); err != nil || begun {
				t.Fatal(begun, err)
			}
			joined = append(joined, stored(name))
			if err := k.balance(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.calls) > 0 || f.managers() != "n1" {
			t.Errorf("calls %q, managers %s", f.calls, f.managers())
		}
	})
}
