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
	// made: the new replica is there already; the job was cut off after it had made it.
	made bool
	// node is where the replica stands that is replaced or removed; empty = none.
	node string
	// to is the node that the new one is to come to; empty = where it fits best, until it is placed.
	to string
}

// standing is what a plan needs to know of a replica that is there.
type standing struct {
	index   int
	hash    string // of the blueprint that it was made from
	sandbox string // hash of its sandbox's shape
	publish bool
	node    string
}

// publishers says which replica is to hold the host ports on each node: the one
// that does, else the first that stands there.
func publishers(stand []standing, want int) map[string]int {
	holder := map[string]int{}
	for _, s := range stand {
		if s.publish && s.index < want {
			holder[s.node] = s.index
		}
	}
	lowest := map[string]int{}
	for _, s := range stand {
		if at, ok := lowest[s.node]; s.index < want && (!ok || s.index < at) {
			lowest[s.node] = s.index
		}
	}
	for node, index := range lowest {
		if _, ok := holder[node]; !ok {
			holder[node] = index
		}
	}
	return holder
}

// plan returns what brings a service from the replicas that stand to want
// replicas of a blueprint: new indexes first, then replacements, the one that
// holds the host ports last of these, then what is too much, from the end. It is
// level-triggered: carried out half and planned again, it finishes the other half.
// Where the new replicas come to is added by placed.
func plan(stand []standing, want int, print *blueprint, force bool) []change {
	there := map[int]standing{}
	for _, s := range stand {
		there[s.index] = s
	}
	holder := publishers(stand, want)
	var creates, replaces, removes, keeps []change
	for index := range want {
		old, standing := there[index]
		publisher, some := holder[old.node]
		c := change{index: index, node: old.node, publish: standing && some && print.publishes() && publisher == index}
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
			c.stopFirst = c.inPlace || old.publish && c.publish || mustNotRunTwice(print.spec)
			replaces = append(replaces, c)
		}
	}
	for _, s := range stand {
		if s.index >= want {
			removes = append(removes, change{kind: changeRemove, index: s.index, publish: s.publish, node: s.node})
		}
	}
	slices.SortStableFunc(replaces, func(x, y change) int { return cmp.Compare(order(x), order(y)) })
	slices.SortFunc(removes, func(x, y change) int { return cmp.Compare(y.index, x.index) })
	// One that holds host ports which another takes over gives them free first.
	first := func(c change) bool {
		return c.publish && slices.ContainsFunc(replaces, func(r change) bool { return r.publish && r.node == c.node })
	}
	var before, after []change
	for _, c := range removes {
		if first(c) {
			before = append(before, c)
		} else {
			after = append(after, c)
		}
	}
	return slices.Concat(keeps, creates, before, replaces, after)
}

// placed says that the replica which a change makes comes to a node, and whether
// it is to hold the host ports there, which it then does.
func (c *change) placed(node string, holder map[string]int, print *blueprint) {
	publisher, some := holder[node]
	c.publish = print.publishes() && (!some || publisher == c.index)
	if c.publish {
		holder[node] = c.index
	}
	if node != c.node {
		c.inPlace = false
		c.stopFirst = c.kind == changeReplace && mustNotRunTwice(print.spec)
	}
}

// mustNotRunTwice says whether the old app ends before the new one starts.
func mustNotRunTwice(spec *fleet.Spec) bool {
	return spec.Direct || spec.WritesVolumes() || spec.Update.Order == fleet.StopFirst
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

// steps tells a plan in the words of a job, with the node of each replica.
func steps(service string, changes []change) []fleet.Step {
	var list []fleet.Step
	for _, c := range changes {
		replica := fleet.ReplicaName(service, c.index)
		for _, verb := range verbs(c) {
			list = append(list, fleet.Step{Verb: verb, Replica: replica, State: fleet.JobQueued, Detail: where(verb, c)})
		}
	}
	return list
}

// verbs are those of the steps that carry out a change.
func verbs(c change) []string {
	switch {
	case c.kind == changeKeep:
		return []string{"keep"}
	case c.kind == changeCreate:
		return []string{"create", "start", "publish", "confirm"}
	case c.kind == changeRemove:
		return []string{"publish", "confirm", "drain", "remove"}
	case c.stopFirst:
		return []string{"confirm", "drain", "stop", "create", "start", "publish", "confirm", "remove"}
	}
	return []string{"create", "start", "publish", "confirm", "drain", "stop", "remove"}
}

// where says on which node a step makes, keeps or removes something; empty for others.
func where(verb string, c change) string {
	switch verb {
	case "create":
		return onNode(c.to)
	case "keep", "remove":
		return onNode(c.node)
	}
	return ""
}

func onNode(name string) string { return "on node " + name }
