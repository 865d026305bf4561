package engine

import (
	"cmp"
	"fmt"
	"slices"

	"edgespawner/fleet"
)

// changeKind is what a rollout does to one index of a service.
type changeKind string

const (
	changeKeep    changeKind = "keep"
	changeCreate  changeKind = "create"
	changeReplace changeKind = "replace"
	changeRemove  changeKind = "remove"
)

// change is one step of a rollout's plan.
type change struct {
	kind  changeKind
	index int
	// stopFirst: the old app ends before the new one starts; requests are held meanwhile.
	stopFirst bool
	// inPlace: the new app joins the old one's sandbox, which keeps its address and host ports.
	inPlace bool
	// publish: the replica's sandbox holds the service's host ports.
	publish bool
}

// standing is what a plan needs to know of a replica that is there.
type standing struct {
	index   int
	hash    string // of the blueprint that it was made from
	sandbox string // hash of its sandbox's shape
	publish bool
}

// plan returns what brings a service from the replicas that stand to want
// replicas of a blueprint: new indexes first, then replacements, the one that
// holds the host ports last of these, then what is too much, from the end. It is
// level-triggered: carried out half and planned again, it finishes the other half.
func plan(stand []standing, want int, print *blueprint, force bool) []change {
	there := map[int]standing{}
	publishing := false // a replica that stays holds the ports
	for _, s := range stand {
		there[s.index] = s
		publishing = publishing || s.publish && s.index < want
	}
	var creates, replaces, removes, keeps []change
	for index := range want {
		old, standing := there[index]
		c := change{index: index, publish: print.publishes() && (old.publish || !publishing && index == 0)}
		switch {
		case !standing:
			c.kind = changeCreate
			creates = append(creates, c)
		case old.hash == print.hash && !force && old.publish == c.publish:
			c.kind = changeKeep
			keeps = append(keeps, c)
		default:
			c.kind = changeReplace
			c.inPlace = old.publish && c.publish && old.sandbox == sandboxShape(print.spec)
			c.stopFirst = c.inPlace || old.publish && c.publish || print.spec.Direct || print.spec.Update.Order == fleet.StopFirst
			replaces = append(replaces, c)
		}
	}
	for _, s := range stand {
		if s.index >= want {
			removes = append(removes, change{kind: changeRemove, index: s.index, publish: s.publish})
		}
	}
	slices.SortStableFunc(replaces, func(x, y change) int { return cmp.Compare(order(x), order(y)) })
	slices.SortFunc(removes, func(x, y change) int { return cmp.Compare(y.index, x.index) })
	return slices.Concat(keeps, creates, replaces, removes)
}

func order(c change) int {
	if c.publish {
		return 1
	}
	return 0
}

// sandboxShape describes all of a spec that shapes a sandbox.
func sandboxShape(spec *fleet.Spec) string {
	return fmt.Sprintf("%v %v", publishedPorts(spec), spec.Networks)
}

// nothingToDo says whether a plan only keeps.
func nothingToDo(changes []change) bool {
	return !slices.ContainsFunc(changes, func(c change) bool { return c.kind != changeKeep })
}

// steps tells a plan in the words of a job.
func steps(service string, changes []change) []fleet.Step {
	var list []fleet.Step
	add := func(replica string, verbs ...string) {
		for _, verb := range verbs {
			list = append(list, fleet.Step{Verb: verb, Replica: replica, State: fleet.JobQueued})
		}
	}
	for _, c := range changes {
		replica := fleet.ReplicaName(service, c.index)
		switch {
		case c.kind == changeKeep:
			add(replica, "keep")
		case c.kind == changeCreate:
			add(replica, "create", "start", "publish", "confirm")
		case c.kind == changeRemove:
			add(replica, "publish", "confirm", "drain", "remove")
		case c.stopFirst:
			add(replica, "confirm", "drain", "stop", "create", "start", "publish", "confirm", "remove")
		default:
			add(replica, "create", "start", "publish", "confirm", "drain", "stop", "remove")
		}
	}
	return list
}
