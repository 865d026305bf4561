package engine

import (
	"context"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// removeVolumes removes the volumes that a removed service used and no other
// uses, on every node, as far as this fleet has made them. What cannot be
// removed is said, and stays.
func (e *Engine) removeVolumes(run *jobRun, spec *fleet.Spec) error {
	if spec == nil || len(spec.Volumes) == 0 {
		return nil
	}
	others := e.othersThan(spec.Name)
	return run.step("volumes", "", func(ctx context.Context) (detail string, err error) {
		var removed []string
		for _, volume := range spec.Volumes {
			if user := userOf(volume.Name, others); user != "" {
				run.warn("the volume %s is kept: %s uses it too", volume.Name, user)
				continue
			}
			for _, m := range e.members.list() {
				ok, err := e.removeVolume(ctx, m, volume.Name)
				if err != nil {
					run.warn("the volume %s is left on node %s: %s", volume.Name, m.name, err)
				} else if ok {
					removed = append(removed, volume.Name+" on node "+m.name)
				}
			}
		}
		return strings.Join(removed, ", "), context.Cause(ctx)
	})
}

// removeVolume asks one node. One that does not answer is a failure only when it
// is known to have the volume.
func (e *Engine) removeVolume(ctx context.Context, m *member, name string) (removed bool, err error) {
	if !e.members.answers(m.name) {
		if slices.Contains(m.inStock().Volumes, name) {
			return false, fleet.Errorf(fleet.Unavailable, "it does not answer")
		}
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return e.stock.RemoveVolume(ctx, m.name, name)
}

// userOf names a service that uses a volume.
func userOf(volume string, specs []fleet.Spec) string {
	for _, spec := range specs {
		if slices.ContainsFunc(spec.Volumes, func(v fleet.Volume) bool { return v.Name == volume }) {
			return spec.Name
		}
	}
	return ""
}
