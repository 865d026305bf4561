package docker

import (
	"net/http"
	"net/netip"
	"testing"

	"edgespawner/fleet"
)

// knows lets an engine of a swarm have a network, and an address there.
func (f *fakeEngine) knows(name, subnet, address string) {
	f.on("GET /info", http.StatusOK, map[string]any{"Swarm": map[string]any{"NodeID": address, "NodeAddr": address, "LocalNodeState": "active", "ControlAvailable": true}})
	f.on("GET /networks", http.StatusOK, []map[string]any{
		{"Name": "host", "Driver": "host"},
		{"Name": name, "Driver": "bridge", "IPAM": map[string]any{"Config": []map[string]any{{"Subnet": "fd00::/64"}, {"Subnet": subnet}}}},
	})
}

func TestANetworkOfSeveralNodesKeepsOffWhatAnyOfThemUses(t *testing.T) {
	manager, worker := newFakeEngine(t), newFakeEngine(t)
	manager.knows("bridge", "172.17.0.0/16", "10.201.7.1")
	worker.knows("corp", "10.202.0.0/18", "192.0.2.2")
	manager.on("POST /networks/create", http.StatusCreated, map[string]any{"Id": "n1"})
	manager.on("GET /networks/wide", http.StatusOK, map[string]any{"Id": "n1", "Name": "wide", "Driver": "overlay"})
	p := manager.pool(t)
	if err := p.Add(fleet.Node{Name: "far", Endpoint: "tcp://" + worker.Listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(fleet.Node{Name: "silent", Endpoint: "tcp://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	create := func(subnet string) error {
		_, err := p.Networks().Create(t.Context(), "local", fleet.NetworkConfig{Name: "wide", Driver: driverOverlay, Subnet: netip.MustParsePrefix(subnet)})
		return err
	}
	for subnet, part := range map[string]string{
		"172.17.16.0/20": "overlaps 172.17.0.0/16 of network bridge of node local",
		"10.202.16.0/20": "overlaps 10.202.0.0/18 of network corp of node far",
		"10.201.0.0/20":  "holds 10.201.7.1, the address of node local",
		"192.0.2.0/24":   "holds 192.0.2.2, the address of node far",
	} {
		wantError(t, create(subnet), fleet.Conflict, "subnet", part)
	}
	if n := manager.count("POST /networks/create"); n != 0 {
		t.Errorf("%d networks were made nevertheless", n)
	}
	if err := create("10.203.0.0/20"); err != nil || manager.count("POST /networks/create") != 1 {
		t.Errorf("a free one: %v", err)
	}
}
