//go:build e2e

package docker

import (
	"net"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"edgespawner/fleet"
)

func TestAnImportedImageRunsAndIsFound(t *testing.T) {
	r := newRig(t)
	found, err := r.pool.Images().Ensure(t.Context(), testNode, sandboxImage, fleet.PullMissing)
	if err != nil || len(found.Entrypoint) != 1 || found.Entrypoint[0] != "/sandbox" || found.Digest != "" {
		t.Errorf("got %+v, %v", found, err)
	}
	byID, err := r.pool.Images().Ensure(t.Context(), testNode, found.ID, fleet.PullAlways)
	if err != nil || byID.ID != found.ID {
		t.Errorf("by id: %+v, %v", byID, err)
	}
	sandbox := r.sandbox("dk-e2e-import", 40)
	if got := r.inspect(sandbox); got.Status != fleet.ContainerRunning || got.ImageID != found.ID {
		t.Errorf("got %+v", got)
	}
	began := time.Now()
	if err := r.pool.Containers().Stop(t.Context(), testNode, sandbox, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 15*time.Second { // it heeds SIGTERM
		t.Errorf("the sandbox took %s to end", took)
	}
}

// TestARegistryThatDoesNotAnswerCostsSeconds uses two stand-ins on loopback,
// which engines speak plain HTTP to: one refuses connections, one never answers.
func TestARegistryThatDoesNotAnswerCostsSeconds(t *testing.T) {
	r := newRig(t)
	n, err := r.pool.engine(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing.Close()
	for name, host := range map[string]string{"silent": silent.Addr().String(), "refusing": refusing.Addr().String()} {
		ref := host + "/dk-e2e-app:latest"
		began := time.Now()
		r.want(name+", nothing local, checked", r.pool.Images().Check(t.Context(), testNode, ref, fleet.PullMissing), fleet.Unavailable, "image")
		t.Logf("%s: the check took %s", name, time.Since(began))
		if err := n.client.ImageTag(t.Context(), appImage, ref); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			began = time.Now()
			if _, err := r.pool.Images().Ensure(t.Context(), testNode, ref, fleet.PullMissing); err != nil {
				t.Error(err)
			}
			t.Logf("%s: the fallback took %s", name, time.Since(began))
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("%s: the local image was used only after %s", name, took)
			}
		}
		if _, err := n.client.ImageRemove(t.Context(), ref, image.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	}
}
