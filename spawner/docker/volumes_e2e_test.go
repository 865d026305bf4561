//go:build e2e

package docker

import (
	"context"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/volume"
	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestAVolumeIsMadeAsOursAndOutlivesItsContainer(t *testing.T) {
	const name = "dk-e2e-volume"
	r := newRig(t)
	n, err := r.pool.engine(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.client.VolumeRemove(context.Background(), name, true) })
	sandbox := r.sandbox("dk-e2e-volume", 14)
	id, err := r.pool.Containers().Create(t.Context(), testNode, fleet.ContainerConfig{
		Name: "dk-e2e-volume", Image: appImage, SandboxID: sandbox, Restart: "no",
		Volumes: []fleet.Volume{{Name: name, Path: "/data"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.start(id)
	stock, err := r.pool.Stock().Stock(t.Context(), testNode)
	if err != nil || !slices.Contains(stock.Volumes, name) || !slices.Contains(stock.Images, appImage) {
		t.Errorf("the node is said to have %+v, %v", stock, err)
	}
	_, err = r.pool.Stock().RemoveVolume(t.Context(), testNode, name)
	r.want("removal of a volume in use", err, fleet.Conflict, "")
	if err := r.pool.Containers().Remove(t.Context(), testNode, id); err != nil {
		t.Fatal(err)
	}
	found, err := n.client.VolumeInspect(t.Context(), name)
	if err != nil {
		t.Fatalf("it went with its container: %v", err)
	}
	if diff := cmp.Diff(r.pool.owned(nil), found.Labels); diff != "" {
		t.Error(diff)
	}
	for _, want := range []bool{true, false} { // the second time there is none
		if removed, err := r.pool.Stock().RemoveVolume(t.Context(), testNode, name); removed != want || err != nil {
			t.Errorf("got %v, %v; want %v", removed, err, want)
		}
	}
}

func TestAVolumeOfOthersIsNotRemoved(t *testing.T) {
	const name = "dk-e2e-foreign"
	r := newRig(t)
	n, err := r.pool.engine(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.client.VolumeCreate(t.Context(), volume.CreateOptions{Name: name}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.client.VolumeRemove(context.Background(), name, true) })
	if removed, err := r.pool.Stock().RemoveVolume(t.Context(), testNode, name); removed || err != nil {
		t.Errorf("got %v, %v", removed, err)
	}
	if _, err := n.client.VolumeInspect(t.Context(), name); err != nil {
		t.Error(err)
	}
}
