//go:build e2e

package docker

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestANetworkIsFoundAsItWasMade(t *testing.T) {
	r := newRig(t)
	w, ctx := r.pool.Networks(), t.Context()
	sandbox := r.sandbox("dk-e2e-on", 30)
	found, err := w.Find(ctx, testNode, testNetwork)
	if err != nil {
		t.Fatal(err)
	}
	if found.Subnet.Bits() != 24 || found.IPRange.Bits() != 25 || !found.Subnet.Contains(found.Gateway) || found.Labels[fleet.LabelFleet] != testFleet {
		t.Errorf("found %+v", found)
	}
	if diff := cmp.Diff([]string{sandbox}, found.Containers); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
	n, err := r.pool.engine(ctx, testNode)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := n.client.ContainerInspect(ctx, sandbox)
	if err != nil {
		t.Fatal(err)
	}
	if got := seen.NetworkSettings.Networks[testNetwork].Gateway; got != found.Gateway.String() {
		t.Errorf("found gateway %s, containers use %s", found.Gateway, got)
	}
	_, err = w.Create(ctx, testNode, fleet.NetworkConfig{Name: "dk-e2e-overlap", Driver: "bridge", Subnet: found.Subnet})
	r.want("create over another subnet", err, fleet.Conflict, "subnet")
	_, err = w.Create(ctx, testNode, fleet.NetworkConfig{Name: testNetwork, Driver: "bridge"})
	r.want("create of a name that is taken", err, fleet.Conflict, "name")
	_, err = w.Find(ctx, testNode, "dk-e2e-nothing")
	r.want("find of nothing", err, fleet.NotFound, "")
	_, err = w.Find(ctx, testNode, found.ID[:12])
	r.want("find by id", err, fleet.NotFound, "")
	r.want("remove in use", w.Remove(ctx, testNode, testNetwork), fleet.Conflict, "")
	r.want("remove of someone else's", w.Remove(ctx, testNode, "bridge"), fleet.Forbidden, "")
	if err := w.Remove(ctx, testNode, "dk-e2e-nothing"); err != nil {
		t.Error(err)
	}
}

func TestConnectingTwiceIsAsGoodAsOnce(t *testing.T) {
	r := newRig(t)
	w, ctx := r.pool.Networks(), t.Context()
	if _, err := w.Create(ctx, testNode, fleet.NetworkConfig{Name: "dk-e2e-zz", Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Remove(context.Background(), testNode, "dk-e2e-zz") })
	id := r.sandbox("dk-e2e-twice", 31)
	for range 2 {
		if err := w.Connect(ctx, testNode, "dk-e2e-zz", id); err != nil {
			t.Error(err)
		}
	}
	if got := r.inspect(id).Addresses; !got["dk-e2e-zz"].IsValid() || got[testNetwork] != r.address(31) {
		t.Errorf("addresses %v", got)
	}
	for range 2 {
		if err := w.Disconnect(ctx, testNode, "dk-e2e-zz", id); err != nil {
			t.Error(err)
		}
	}
	r.want("connect to nothing", w.Connect(ctx, testNode, "dk-e2e-nothing", id), fleet.NotFound, "networks")
	if err := w.Disconnect(ctx, testNode, "dk-e2e-nothing", id); err != nil {
		t.Error(err)
	}
}

func TestASandboxMayBeOnSeveralNetworks(t *testing.T) {
	r := newRig(t)
	w, ctx := r.pool.Networks(), t.Context()
	if _, err := w.Create(ctx, testNode, fleet.NetworkConfig{Name: "dk-e2e-two", Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	id := r.create(fleet.ContainerConfig{Name: "dk-e2e-both.net", Image: sandboxImage, Networks: []fleet.Attachment{
		{Network: testNetwork, Address: r.address(32), Aliases: []string{"both"}}, {Network: "dk-e2e-two", Aliases: []string{"both"}},
	}})
	r.start(id)
	if got := r.inspect(id).Addresses; got[testNetwork] != r.address(32) || !got["dk-e2e-two"].IsValid() {
		t.Errorf("addresses %v", got)
	}
	r.pool.Containers().Remove(ctx, testNode, id)
	if err := w.Remove(ctx, testNode, "dk-e2e-two"); err != nil {
		t.Error(err)
	}
}

func TestAttendantsAreTheRunningEdgesAndSpawnersOfThisFleetOrNone(t *testing.T) {
	r := newRig(t)
	n, err := r.pool.engine(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	attendant := func(name string, labels map[string]string) {
		t.Helper()
		body, host, networking := r.pool.createRequest(fleet.ContainerConfig{Image: sandboxImage})
		body.Labels = labels
		made, err := n.client.ContainerCreate(t.Context(), body, host, networking, nil, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.pool.Containers().Remove(context.Background(), testNode, made.ID) })
		r.start(made.ID)
	}
	attendant("dk-e2e-edge", map[string]string{fleet.LabelRole: string(fleet.RoleEdge)})
	attendant("dk-e2e-spawner", map[string]string{fleet.LabelRole: string(fleet.RoleSpawner), fleet.LabelFleet: testFleet})
	attendant("dk-e2e-other", map[string]string{fleet.LabelRole: string(fleet.RoleEdge), fleet.LabelFleet: "dk-e2e-other"})
	attendant("dk-e2e-app", map[string]string{fleet.LabelRole: string(fleet.RoleApp)})
	list, err := r.pool.Networks().Attendants(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range list {
		names[c.Name] = true
	}
	// Others may run edges on the same engine.
	for name, want := range map[string]bool{"dk-e2e-edge": true, "dk-e2e-spawner": true, "dk-e2e-other": false, "dk-e2e-app": false} {
		if names[name] != want {
			t.Errorf("%s among the attendants: %v, want %v", name, names[name], want)
		}
	}
}

func TestANodeTellsWhoItIs(t *testing.T) {
	r := newRig(t)
	n, err := r.pool.Info(t.Context(), testNode)
	if err != nil || n.State != fleet.NodeReady || n.CPUs == 0 || n.MemoryMB == 0 || n.EngineID == "" || n.Version == "" {
		t.Errorf("got %+v, %v", n, err)
	}
	_, err = r.pool.Info(t.Context(), "nowhere")
	r.want("a node that is not there", err, fleet.Unavailable, "")
}
