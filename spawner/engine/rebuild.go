package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
)

// rebuild stores the services that run on the nodes and are not in the store:
// a lost database. Their newest revision with a running replica is taken for
// the one in service, its spec read from a label and its env from the container.
func (e *Engine) rebuild(ctx context.Context, known map[string]bool, groups map[string][]pair) ([]fleet.Desired, error) {
	var rebuilt []fleet.Desired
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if known[name] || name == "" {
			continue
		}
		desired, revision, err := rebuildService(name, groups[name])
		if err != nil {
			e.log.Warn("Cannot rebuild a service from its containers", "service", name, "error", err)
			e.record(fleet.Event{Type: fleet.EventWarning, Service: name, Message: fmt.Sprintf("%s runs and cannot be rebuilt: %s", name, err)})
			continue
		}
		if err := e.services.Adopt(ctx, desired, revision); err != nil {
			return nil, fmt.Errorf("cannot store the rebuilt service %s: %w", name, err)
		}
		rebuilt = append(rebuilt, desired)
	}
	if len(rebuilt) > 0 {
		names := make([]string, len(rebuilt))
		for i, desired := range rebuilt {
			names[i] = desired.Name
		}
		message := fmt.Sprintf("Rebuilt from containers: %s; their older revisions, and all jobs, events and tokens of before, are lost", strings.Join(names, ", "))
		e.log.Warn(message)
		e.record(fleet.Event{Type: fleet.EventWarning, Message: message})
	}
	return rebuilt, nil
}

func rebuildService(name string, found []pair) (fleet.Desired, fleet.Revision, error) {
	best := slices.MaxFunc(found, func(x, y pair) int {
		return cmp.Or(cmp.Compare(alive(x), alive(y)), cmp.Compare(x.revision, y.revision))
	})
	if best.app.Labels[fleet.LabelSpec] == "" {
		return fleet.Desired{}, fleet.Revision{}, errors.New("its containers carry no spec")
	}
	spec := fleet.DefaultSpec()
	if err := fleet.DecodeStrict(strings.NewReader(best.app.Labels[fleet.LabelSpec]), &spec); err != nil {
		return fleet.Desired{}, fleet.Revision{}, fmt.Errorf("cannot read the spec on its container: %w", err)
	}
	for key := range spec.Env {
		value, ok := best.app.Env[key]
		if !ok {
			return fleet.Desired{}, fleet.Revision{}, fmt.Errorf("its container has no variable %s", key)
		}
		spec.Env[key] = value
	}
	now := time.Now().UTC()
	desired := fleet.Desired{Name: name, Revision: best.revision, Power: fleet.PowerAsleep, CreatedAt: now, ChangedAt: now}
	for _, p := range found {
		if p.revision != best.revision {
			continue
		}
		desired.Replicas = max(desired.Replicas, p.index+1)
		switch p.app.Status {
		case fleet.ContainerRunning:
			desired.Power = fleet.PowerAwake
		case fleet.ContainerPaused:
			desired.Power = fleet.PowerDozing
		}
	}
	return desired, fleet.Revision{
		Service: name, Number: best.revision, Spec: spec, By: "rebuilt from its containers", CreatedAt: now,
		ImageID: best.app.ImageID, Outcome: fleet.OutcomeSucceeded,
	}, nil
}

// labelled makes the blueprint of a replica whose revision the store does not
// know, since an older state was restored: as much as it takes to remove it.
func labelled(service string, p pair) *blueprint {
	spec := fleet.DefaultSpec()
	if err := fleet.DecodeStrict(strings.NewReader(p.app.Labels[fleet.LabelSpec]), &spec); err != nil {
		spec = fleet.DefaultSpec()
	}
	spec.Name = service
	return &blueprint{spec: &spec, revision: p.revision, image: fleet.Image{ID: p.app.ImageID, Ref: spec.Image}, hash: p.hash}
}

// alive ranks what was found: an app that runs, one that is paused, one that is down, none.
func alive(p pair) int {
	switch {
	case p.app.Status == fleet.ContainerRunning:
		return 3
	case p.app.Status == fleet.ContainerPaused:
		return 2
	case p.app.ID != "":
		return 1
	}
	return 0
}
