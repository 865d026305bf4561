package engine

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"edgespawner/fleet"
)

func printOf(hash string, change func(*fleet.Spec)) *blueprint {
	spec := fleet.DefaultSpec()
	spec.Name = "web"
	if change != nil {
		change(&spec)
	}
	return &blueprint{spec: &spec, hash: hash}
}

func publishing(spec *fleet.Spec) {
	spec.Ports = []fleet.Port{{ContainerPort: 80, HostPort: 8080}}
}

// kept are n replicas of a blueprint as they stand; the first holds its host ports.
func kept(n int, print *blueprint) []standing {
	list := make([]standing, n)
	for i := range list {
		list[i] = standing{index: i, hash: print.hash, sandbox: sandboxShape(print.spec), publish: i == 0 && print.publishes()}
	}
	return list
}

// planOn is a plan whose new replicas come to a node, and whose others stay.
func planOn(node string, stand []standing, want int, print *blueprint, force bool) []change {
	changes := plan(stand, want, print, force)
	holder := publishers(stand, want)
	for i := range changes {
		switch c := &changes[i]; c.kind {
		case changeCreate:
			c.placed(node, holder, print)
			c.node = node
		case changeReplace:
			c.placed(c.node, holder, print)
		}
	}
	return changes
}

func TestAPlanSaysWhatBecomesOfEachReplica(t *testing.T) {
	plain, old := printOf("new", nil), printOf("old", nil)
	ports, oldPorts := printOf("new", publishing), printOf("old", publishing)
	otherPort := printOf("old", func(s *fleet.Spec) { s.Ports = []fleet.Port{{ContainerPort: 80, HostPort: 9090}} })
	direct := printOf("new", func(s *fleet.Spec) { s.Direct = true })
	stopFirst := printOf("new", func(s *fleet.Spec) { s.Update.Order = fleet.StopFirst })
	for name, test := range map[string]struct {
		stand []standing
		want  int
		print *blueprint
		force bool
		plan  []change
	}{
		"nothing stands": {nil, 2, plain, false, []change{{kind: changeCreate, index: 0}, {kind: changeCreate, index: 1}}},
		"none is wanted": {kept(2, plain), 0, plain, false, []change{{kind: changeRemove, index: 1}, {kind: changeRemove, index: 0}}},
		"all is right":   {kept(2, plain), 2, plain, false, []change{{kind: changeKeep, index: 0}, {kind: changeKeep, index: 1}}},
		"by force":       {kept(1, plain), 1, plain, true, []change{{kind: changeReplace, index: 0}}},
		"another blueprint": {kept(2, old), 2, plain, false,
			[]change{{kind: changeReplace, index: 0}, {kind: changeReplace, index: 1}}},
		"one is missing in the middle": {[]standing{kept(3, plain)[0], kept(3, plain)[2]}, 3, plain, false,
			[]change{{kind: changeKeep, index: 0}, {kind: changeKeep, index: 2}, {kind: changeCreate, index: 1}}},
		"more, and changed": {kept(1, old), 2, plain, false,
			[]change{{kind: changeCreate, index: 1}, {kind: changeReplace, index: 0}}},
		"fewer, and changed": {kept(2, old), 1, plain, false,
			[]change{{kind: changeReplace, index: 0}, {kind: changeRemove, index: 1}}},
		"the first publishes": {nil, 2, ports, false,
			[]change{{kind: changeCreate, index: 0, publish: true}, {kind: changeCreate, index: 1}}},
		"the publisher last and in place": {kept(2, oldPorts), 2, ports, false,
			[]change{{kind: changeReplace, index: 1}, {kind: changeReplace, index: 0, publish: true, inPlace: true, stopFirst: true}}},
		"other host ports need another sandbox": {kept(1, otherPort), 1, ports, false,
			[]change{{kind: changeReplace, index: 0, publish: true, stopFirst: true}}},
		"one that publishes now and did not": {kept(1, old), 1, ports, false,
			[]change{{kind: changeReplace, index: 0, publish: true}}},
		"one that published and does not": {kept(1, oldPorts), 1, plain, false,
			[]change{{kind: changeReplace, index: 0}}},
		"the publisher is one too many": {[]standing{{index: 0, hash: "new", sandbox: sandboxShape(ports.spec)}, {index: 1, hash: "new", sandbox: sandboxShape(ports.spec), publish: true}}, 1, ports, false,
			[]change{{kind: changeRemove, index: 1, publish: true}, {kind: changeReplace, index: 0, publish: true}}},
		"stop-first": {kept(1, old), 1, stopFirst, false, []change{{kind: changeReplace, index: 0, stopFirst: true}}},
		"writes to a volume": {kept(1, old), 1, printOf("new", func(s *fleet.Spec) { s.Volumes = []fleet.Volume{{Name: "data", Path: "/data"}} }), false,
			[]change{{kind: changeReplace, index: 0, stopFirst: true}}},
		"direct": {kept(1, old), 1, direct, false, []change{{kind: changeReplace, index: 0, stopFirst: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := planOn("", test.stand, test.want, test.print, test.force)
			if diff := cmp.Diff(test.plan, got, cmp.AllowUnexported(change{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// outcome is what stands after a plan has been carried out.
func outcome(stand []standing, changes []change, print *blueprint) []standing {
	there := map[int]standing{}
	for _, s := range stand {
		there[s.index] = s
	}
	for _, c := range changes {
		switch c.kind {
		case changeRemove:
			delete(there, c.index)
		case changeCreate, changeReplace:
			there[c.index] = standing{index: c.index, hash: print.hash, sandbox: sandboxShape(print.spec), publish: c.publish, node: c.node}
		}
	}
	var list []standing
	for _, s := range there {
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y standing) int { return x.index - y.index })
	return list
}

func drawStanding(t *rapid.T) []standing {
	var list []standing
	publisher := map[string]int{"a": rapid.IntRange(-1, 5).Draw(t, "publisher"), "b": rapid.IntRange(-1, 5).Draw(t, "other publisher")}
	for index := range 6 {
		if rapid.Bool().Draw(t, "stands") {
			hash := rapid.SampledFrom([]string{"new", "old", "older"}).Draw(t, "hash")
			node := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node")
			list = append(list, standing{index: index, hash: hash, sandbox: rapid.SampledFrom([]string{"[] []", "x"}).Draw(t, "sandbox"), publish: index == publisher[node], node: node})
		}
	}
	return list
}

func TestAPlanCarriedOutLeavesNothingToDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stand := drawStanding(t)
		want := rapid.IntRange(0, 7).Draw(t, "want")
		change := []func(*fleet.Spec){nil, publishing, func(s *fleet.Spec) { s.Direct = true }, func(s *fleet.Spec) { s.Update.Order = fleet.StopFirst }}
		print := printOf("new", rapid.SampledFrom(change).Draw(t, "spec"))
		changes := planOn(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "to"), stand, want, print, rapid.Bool().Draw(t, "force"))
		after := outcome(stand, changes, print)
		if len(after) != want {
			t.Fatalf("%d replicas stand, want %d", len(after), want)
		}
		publishers, nodes := map[string]int{}, map[string]bool{}
		for _, s := range after {
			if s.hash != print.hash {
				t.Fatalf("replica %d is of %s", s.index, s.hash)
			}
			if s.publish {
				publishers[s.node]++
			}
			nodes[s.node] = true
		}
		for node := range nodes {
			if print.publishes() != (publishers[node] == 1) || publishers[node] > 1 {
				t.Fatalf("%d replicas publish on node %s", publishers[node], node)
			}
		}
		if again := plan(after, want, print, false); !nothingToDo(again) {
			t.Fatalf("planned again: %+v", again)
		}
	})
}

func TestAPlanCarriedOutHalfIsFinishedByTheNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stand := drawStanding(t)
		want := rapid.IntRange(0, 7).Draw(t, "want")
		print := printOf("new", rapid.SampledFrom([]func(*fleet.Spec){nil, publishing}).Draw(t, "spec"))
		changes := planOn("a", stand, want, print, false)
		half := outcome(stand, changes[:rapid.IntRange(0, len(changes)).Draw(t, "half")], print)
		after := outcome(half, planOn("a", half, want, print, false), print)
		if !nothingToDo(plan(after, want, print, false)) || len(after) != want {
			t.Fatalf("after the second plan: %+v", after)
		}
	})
}

func TestAPlanNeverTakesTwoPublishersAtATime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stand := drawStanding(t)
		print := printOf("new", publishing)
		publishers, last := map[string]int{}, false
		for _, c := range planOn("a", stand, rapid.IntRange(0, 7).Draw(t, "want"), print, false) {
			if c.publish && c.kind != changeRemove {
				publishers[c.node]++
			}
			if c.kind == changeReplace && last && !c.publish {
				t.Fatal("a replica is replaced after the one that publishes")
			}
			last = last || c.kind == changeReplace && c.publish
			if publishers[c.node] > 1 {
				t.Fatalf("%d replicas are to publish on node %s", publishers[c.node], c.node)
			}
		}
	})
}
