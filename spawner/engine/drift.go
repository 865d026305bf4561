package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// differences are what tells an app's container, by an inspect, from what the
// blueprint says: somebody changed it, or made it anew, by hand. No value of env
// is among them.
func differences(print *blueprint, app fleet.Container) []string {
	var list []string
	differ := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if wanted := print.image.ID; wanted != "" && app.ImageID != "" && app.ImageID != wanted {
		differ("its image is %s, not %s", shortID(app.ImageID), shortID(wanted))
	}
	if hash := app.Labels[fleet.LabelSpecHash]; hash != print.hash {
		differ("its label %s is %q, not %q", fleet.LabelSpecHash, hash, print.hash)
	}
	for _, key := range slices.Sorted(maps.Keys(print.spec.Env)) {
		value, there := app.Env[key]
		switch {
		case !there:
			differ("its env has no %s", key)
		case value.Reveal() != print.spec.Env[key].Reveal():
			differ("its env has another value of %s", key)
		}
	}
	if wanted := print.spec.Resources.MemoryMB; app.MemoryMB != wanted {
		differ("its memory is limited to %d MiB, not %d (0 = not limited)", app.MemoryMB, wanted)
	}
	if wanted := print.spec.Resources.CPUShares; app.CPUShares != wanted {
		differ("its CPU shares are %d, not %d (0 = the engine's default)", app.CPUShares, wanted)
	}
	if app.MilliCPUs != 0 {
		differ("it is limited to %g CPUs, and was not", float64(app.MilliCPUs)/1000)
	}
	if policy := app.RestartPolicy; policy != "" && policy != "no" {
		differ("its restart policy is %s, not no: the engine restarts it, too", policy)
	}
	return list
}

// shortID is an image's id as people read it.
func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}

// lookForDrift compares a replica's app with its blueprint, beside the actor.
func (a *actor) lookForDrift(r *replica) {
	id := r.look().app.id
	if id == "" {
		return
	}
	a.engine.group.Go(func() {
		ctx, cancel := a.engine.background(callTimeout)
		defer cancel()
		c, err := a.engine.containers.Inspect(ctx, r.node, id)
		if err != nil {
			return // gone, or its node does not answer: that is told by others
		}
		a.post(func() {
			if r.look().app.id == id && slices.Contains(a.replicas, r) {
				a.noteDrift(r, differences(r.print, c))
			}
		})
	})
}

// noteDrift records what a container's differences have become.
func (a *actor) noteDrift(r *replica, found []string) {
	if slices.Equal(found, r.care.drift) {
		return
	}
	r.care.drift = found
	if len(found) == 0 {
		a.record(fleet.EventDrift, r, "%s is what was deployed again", r.name())
		return
	}
	a.record(fleet.EventDrift, r, "%s is not what was deployed: %s; a deploy or restart makes it anew", r.name(), strings.Join(found, "; "))
}
