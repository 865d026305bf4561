package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

var (
	everyNodeState = []fleet.NodeState{fleet.NodeUnknown, fleet.NodeReady, fleet.NodeSilent, fleet.NodeUnmanaged, fleet.NodeSuspected, fleet.NodeDown}
	everyNodeEvent = []nodeEvent{nodeAnswered, nodeLost, nodeServes, nodeMute, nodeOverdue, nodeFrozen}
)

func TestEveryEventInEveryStateOfANode(t *testing.T) {
	// Unlisted pairs change nothing.
	moves := map[fleet.NodeState]map[nodeEvent]fleet.NodeState{
		fleet.NodeUnknown:   {nodeAnswered: fleet.NodeReady, nodeLost: fleet.NodeSilent},
		fleet.NodeReady:     {nodeLost: fleet.NodeSilent},
		fleet.NodeSilent:    {nodeAnswered: fleet.NodeReady, nodeServes: fleet.NodeUnmanaged, nodeMute: fleet.NodeSuspected},
		fleet.NodeUnmanaged: {nodeAnswered: fleet.NodeReady, nodeMute: fleet.NodeSuspected},
		fleet.NodeSuspected: {nodeAnswered: fleet.NodeReady, nodeServes: fleet.NodeUnmanaged, nodeOverdue: fleet.NodeDown, nodeFrozen: fleet.NodeSilent},
		fleet.NodeDown:      {nodeAnswered: fleet.NodeReady},
	}
	for _, state := range everyNodeState {
		for _, event := range everyNodeEvent {
			want, ok := moves[state][event]
			if !ok {
				want = state
			}
			if got, known := nextNodeState(state, event); got != want || !known {
				t.Errorf("%s × %s = %s, want %s", state, event, got, want)
			}
		}
	}
	if _, known := nextNodeState(fleet.NodeReady, "nonsense"); known {
		t.Error("an event that nobody knows was taken")
	}
}

func TestTheSilenceOfANodeIsJudgedByItsProbes(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	for name, test := range map[string]struct {
		rounds []bool // one a second after the silence began
		want   []fleet.NodeState
	}{
		"nobody answers": {[]bool{false, false, false, false, false}, []fleet.NodeState{fleet.NodeSilent, fleet.NodeSuspected, fleet.NodeSuspected, fleet.NodeSuspected, fleet.NodeDown}},
		"they answer":    {[]bool{true, true, true}, []fleet.NodeState{fleet.NodeUnmanaged, fleet.NodeUnmanaged, fleet.NodeUnmanaged}},
		"one late round": {[]bool{true, false, true, false}, []fleet.NodeState{fleet.NodeUnmanaged, fleet.NodeUnmanaged, fleet.NodeUnmanaged, fleet.NodeUnmanaged}},
		"suspected and back": {[]bool{false, false, true, false, false, false},
			[]fleet.NodeState{fleet.NodeSilent, fleet.NodeSuspected, fleet.NodeUnmanaged, fleet.NodeUnmanaged, fleet.NodeUnmanaged, fleet.NodeSuspected}},
		"down stays down": {[]bool{false, false, false, false, false, true}, []fleet.NodeState{fleet.NodeSilent, fleet.NodeSuspected, fleet.NodeSuspected, fleet.NodeSuspected, fleet.NodeDown, fleet.NodeDown}},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJudge(FailureLimits{}.orDefaults())
			j.answered(at(-100))
			j.lost(at(0))
			var got []fleet.NodeState
			for i, serves := range test.rounds {
				j.round(serves, false, at(i+1))
				got = append(got, j.state)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			j.answered(at(100))
			if j.state != fleet.NodeReady {
				t.Errorf("after an answer it is %s", j.state)
			}
		})
	}
}

func TestANodeIsMutedByRoundsThatNobodyAnswersAlone(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, frozen := range []bool{false, true} {
		j := newJudge(FailureLimits{}.orDefaults())
		j.answered(now)
		j.lost(now)
		for _, round := range []struct {
			at     time.Duration
			serves bool
			muted  bool
		}{
			{1 * time.Second, true, false}, {20 * time.Second, true, false}, // nothing was asked for 19 s
			{40 * time.Second, false, false}, {41 * time.Second, false, false}, {42 * time.Second, false, true},
			{43 * time.Second, true, false}, {44 * time.Second, false, false}, {46 * time.Second, false, true},
		} {
			j.round(round.serves, frozen, now.Add(round.at))
			if j.muted != round.muted {
				t.Errorf("frozen %t, after the round at %v: muted is %t", frozen, round.at, j.muted)
			}
		}
		j.answered(now.Add(time.Minute))
		if j.muted {
			t.Errorf("frozen %t: it is muted though its engine answers", frozen)
		}
	}
}

func TestTheNodeThatFlapsTheMostIsDampedToo(t *testing.T) {
	j, now := newJudge(FailureLimits{}.orDefaults()), time.Now()
	for n := range 60 {
		now = now.Add(9 * time.Second)
		j.lost(now)
		j.answered(now)
		if n > 0 && !j.settling(now) {
			t.Fatalf("after silence %d it gets new replicas", n+1)
		}
	}
	if !j.settling(now.Add(flapLongest-1)) || j.settling(now.Add(flapLongest)) {
		t.Errorf("it settles at %s, want after %s", j.settles.Sub(now), flapLongest)
	}
}

func TestANodeThatFlapsHasToProveItself(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	j := newJudge(FailureLimits{}.orDefaults())
	j.answered(now)
	for n, want := range []time.Duration{0, flapPause, 2 * flapPause, 4 * flapPause, 8 * flapPause, 16 * flapPause, flapLongest, flapLongest} {
		now = now.Add(time.Second)
		j.lost(now)
		now = now.Add(time.Second)
		j.answered(now)
		if want == 0 && j.settling(now) || want > 0 && (!j.settling(now.Add(want-1)) || j.settling(now.Add(want))) {
			t.Errorf("after silence %d it settles at %s, want after %s", n+1, j.settles, want)
		}
	}
	now = now.Add(2 * flapMemory)
	j.lost(now)
	j.answered(now)
	if j.settling(now) {
		t.Error("what was long ago is held against it")
	}
}

func TestWhoSeesMostNodesSilentAtOnceIsCutOffItself(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	answers, silent := silentNode{}, silentNode{silent: now.Add(-time.Second)}
	longAgo, down := silentNode{silent: now.Add(-time.Hour)}, silentNode{silent: now.Add(-time.Second), down: true}
	for name, test := range map[string]struct {
		nodes   []silentNode
		already bool
		want    bool
	}{
		"none":                      {[]silentNode{answers, answers, answers}, false, false},
		"one of three":              {[]silentNode{silent, answers, answers}, false, false},
		"two of three":              {[]silentNode{silent, silent, answers}, false, true},
		"half":                      {[]silentNode{silent, silent, answers, answers}, false, false},
		"one after the other":       {[]silentNode{silent, longAgo, answers}, false, false},
		"and it lasts":              {[]silentNode{longAgo, longAgo, answers}, true, true},
		"one has been given up":     {[]silentNode{silent, down, answers}, false, false},
		"the only one":              {[]silentNode{silent}, false, false},
		"both of two":               {[]silentNode{silent, silent}, false, true},
		"one of two":                {[]silentNode{silent, answers}, false, false},
		"it is over when one is up": {[]silentNode{longAgo, answers, answers}, true, false},
	} {
		if got := isCutOff(test.nodes, DefaultSilenceWindow, test.already, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func (w *world) untilNode(name string, state fleet.NodeState) {
	w.t.Helper()
	w.until(fmt.Sprintf("node %s is %s", name, state), func() bool { return w.nodeState(name) == state })
}

func (w *world) untilServing(name string, n int) {
	w.t.Helper()
	w.until(fmt.Sprintf("%d replicas of %s serve", n, name), func() bool { return len(w.endpoints(name)) == n })
}

func TestASilentEngineAloneChangesNoRoute(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		before := fmt.Sprint(w.endpoints("web"))
		w.on("b").silence(false)
		w.untilNode("b", fleet.NodeUnmanaged)
		time.Sleep(time.Minute)
		if after := fmt.Sprint(w.endpoints("web")); after != before || w.nodeState("b") != fleet.NodeUnmanaged {
			t.Errorf("node b is %s, routes were %s, are %s", w.nodeState("b"), before, after)
		}
		w.deployed(w.spec("api", "app:2", 2))
		if got := fmt.Sprint(w.spread("api")); got != "map[a:1 c:1]" {
			t.Errorf("api stands on %s: an unmanaged node gets nothing new", got)
		}
		w.on("b").speak()
		w.untilNode("b", fleet.NodeReady)
		if after := fmt.Sprint(w.endpoints("web")); after != before {
			t.Errorf("routes were %s, are %s", before, after)
		}
	})
}

func TestANodeThatIsGoneIsReplacedWithinTenSeconds(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.deployed(w.spec("one", "app:2", 1))
		w.asleep(w.spec("cold", "app:3", 3))
		began := time.Now()
		w.on("b").silence(true)
		w.untilNode("b", fleet.NodeSuspected)
		if n := len(w.endpoints("web")); n != 2 {
			t.Errorf("%d endpoints while b is suspected", n)
		}
		w.untilNode("b", fleet.NodeDown)
		w.untilServing("web", 3)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("replaced after %s", took)
		}
		for _, name := range []string{"web", "one", "cold"} {
			if w.spread(name)["b"] != 0 {
				t.Errorf("%s stands on %v", name, w.spread(name))
			}
		}
		if _, err := w.request("cold", 0); err != nil {
			t.Errorf("a sleeper, one replica of which was on the node: %v", err)
		}
		w.on("b").speak()
		w.untilNode("b", fleet.NodeReady)
		w.until("the strays are gone", func() bool {
			return !slices.ContainsFunc(w.containers(), func(c string) bool { return strings.HasPrefix(c, "b/") })
		})
		w.untilServing("web", 3)
	})
}

func TestANodeThatFallsSilentWhileItIsListedIsGivenUpJustAsSoon(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		time.Sleep(time.Until(time.Now().Truncate(reconcilePeriod).Add(reconcilePeriod - time.Second)))
		began := time.Now()
		w.on("b").silence(true) // a list begins before its stream has noticed
		w.untilNode("b", fleet.NodeDown)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("given up after %s", took)
		}
	})
}

// healths are those of a service's replicas, by node, as they are told.
func (w *world) healths(name string) string {
	w.t.Helper()
	service, err := w.engine().Service(name)
	if err != nil {
		w.t.Fatal(err)
	}
	var list []string
	for _, c := range service.Containers {
		list = append(list, fmt.Sprintf("%s:%s", c.NodeID, c.Health))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// silenceMost silences a and b, two of three nodes, and waits until the spawner
// takes itself for cut off.
func (w *world) silenceMost(dark bool) {
	w.t.Helper()
	w.on("a").silence(dark)
	w.on("b").silence(dark)
	w.until("it is frozen", func() bool { return w.engine().Frozen() != "" })
}

func TestWhenMostEnginesFallSilentAndTheirReplicasServeTheyAreToldAsHealthy(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.silenceMost(false)
		w.until("all are told as healthy", func() bool { return w.healths("web") == "a:healthy b:healthy c:healthy" })
		w.untilNode("a", fleet.NodeUnmanaged)
		w.on("a").silence(true) // what runs there falls silent, too
		w.until("it is told", func() bool { return w.healths("web") == "a:unknown b:healthy c:healthy" })
		if len(w.endpoints("web")) != 3 {
			t.Error(w.picture())
		}
	})
}

func TestWithASilentNodeRemovedTheOtherIsJudged(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.silenceMost(true)
		if err := w.engine().RemoveNode(w.ctx, "a", true); err != nil {
			t.Fatal(err)
		}
		if why := w.engine().Frozen(); why != "" {
			t.Errorf("of two nodes one is silent: %s", why)
		}
		w.untilNode("b", fleet.NodeDown)
		w.until("all of web are on c", func() bool { return fmt.Sprint(w.endpoints("web")) != "" && w.spread("web")["c"] == 3 })
	})
}

func TestWhenMostNodesFallSilentNothingIsChanged(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		before := fmt.Sprint(w.endpoints("web"))
		w.silenceMost(true)
		time.Sleep(time.Minute)
		if after := fmt.Sprint(w.endpoints("web")); after != before {
			t.Errorf("routes were %s, are %s", before, after)
		}
		if got := fmt.Sprint(w.spread("web")); got != "map[a:1 b:1 c:1]" {
			t.Errorf("web stands on %s", got)
		}
		if got := w.healths("web"); got != "a:unknown b:unknown c:healthy" {
			t.Errorf("told: %s", got)
		}
		w.deployed(w.spec("late", "app:1", 1)) // what is asked for is done where a node answers
		if got := fmt.Sprint(w.spread("late")); got != "map[c:1]" {
			t.Errorf("late stands on %s", got)
		}
		told := w.events("", fleet.EventNode)
		if !slices.ContainsFunc(told, func(m string) bool {
			return strings.Contains(m, "no node is declared down and nothing is moved; nodes that answer go on as ever")
		}) {
			t.Errorf("it is told as %q", told)
		}
		w.on("a").speak()
		w.until("it is not frozen", func() bool { return w.engine().Frozen() == "" })
		time.Sleep(7 * time.Second) // in which the engine that is back, too, may not have been tried again
		if state := w.nodeState("b"); state != fleet.NodeSilent {
			t.Errorf("b is %s", state)
		}
		w.untilNode("b", fleet.NodeDown)
		w.untilServing("web", 3)
		if w.spread("web")["b"] != 0 {
			t.Errorf("web stands on %v", w.spread("web"))
		}
	})
}

func TestASleeperWhoseNodeIsSilentWakesElsewhere(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.asleep(w.spec("one", "app:1", 1)) // on a
		w.on("a").silence(true)
		w.untilNode("a", fleet.NodeSilent)
		began := time.Now()
		if _, err := w.request("one", 0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("woken after %s", took)
		}
		if got := fmt.Sprint(w.spread("one")); got != "map[b:1]" {
			t.Errorf("it stands on %s", got)
		}
	})
}

func TestAServiceThatWritesToVolumesStaysWithThem(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.spec("db", "app:1", 1)
		spec.Volumes = []fleet.Volume{{Name: "data", Path: "/data"}}
		w.deployed(spec)
		node := w.engine().Services()[0].Containers[0].NodeID
		w.on(node).silence(true)
		w.untilNode(node, fleet.NodeDown)
		time.Sleep(time.Minute)
		if w.spread("db")[node] != 1 || len(w.endpoints("db")) != 0 {
			t.Errorf("db stands on %v, endpoints %v", w.spread("db"), w.endpoints("db"))
		}
		waits := fmt.Sprintf("db-0 waits for node %s, which is ", node)
		told := w.events("db", fleet.EventNode)
		if n := len(slices.DeleteFunc(slices.Clone(told), func(m string) bool { return !strings.HasPrefix(m, waits) })); n != 1 {
			t.Errorf("that it waits is told %d times: %q", n, told)
		}
		if told := w.events("db", fleet.EventRestart); len(told) != 0 {
			t.Errorf("nothing can be restarted there, and it is told: %q", told)
		}
		w.on(node).speak()
		w.untilServing("db", 1)
	})
}

func TestASpawnerThatStartsWhileANodeIsSilentKeepsItsRoutes(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.asleep(w.spec("cold", "app:2", 3))
		before, made := fmt.Sprint(w.endpoints("web")), len(w.containers())
		for _, dark := range []bool{false, true} {
			w.on("b").silence(dark)
			w.restart()
			if dark {
				w.untilNode("b", fleet.NodeDown)
				w.untilServing("web", 3)
				if w.spread("web")["b"] != 0 {
					t.Errorf("web stands on %v", w.spread("web"))
				}
			} else {
				if after := fmt.Sprint(w.endpoints("web")); after != before {
					t.Errorf("routes were %s, are %s", before, after)
				}
				w.untilNode("b", fleet.NodeUnmanaged)
				time.Sleep(time.Minute)
				if after := fmt.Sprint(w.endpoints("web")); after != before || len(w.containers()) != made {
					t.Errorf("routes were %s, are %s; containers %v", before, after, w.containers())
				}
			}
			w.on("b").speak()
			w.untilNode("b", fleet.NodeReady)
		}
		w.until("nothing is there twice", func() bool { return len(w.containers()) == made })
		w.untilServing("web", 3)
	})
}

func TestAStateThatIsToldLateTakesNoRouteOff(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		m, _ := w.engine().members.get("b")
		// Its follower has suspected it, and a freeze has taken that back before it was told.
		w.engine().tellState(m, fleet.NodeSilent, fleet.NodeSuspected)
		time.Sleep(time.Second)
		if n := len(w.endpoints("web")); n != 2 {
			t.Errorf("%d replicas serve, want both: node b is %s", n, w.nodeState("b"))
		}
	})
}

func TestWhatWaitsToBeRemovedFromANodeThatIsDownIsNoReplicaOfIt(t *testing.T) {
	for name, restart := range map[string]bool{"seen": false, "known to the store alone": true} {
		t.Run(name, func(t *testing.T) {
			overNodes(t, []string{"a", "b", "c"}, func(w *world) {
				spec := w.spec("web", "app:1", 3)
				spec.Resources.MemoryMB = 256
				w.deployed(spec)
				w.on("b").silence(true)
				w.untilNode("b", fleet.NodeDown)
				w.untilServing("web", 3)
				if restart {
					w.restart()
					w.untilNode("b", fleet.NodeDown)
					w.untilServing("web", 3)
				}
				nodes, err := w.engine().Nodes(w.ctx)
				if err != nil || nodes[1].Replicas != 0 || nodes[1].Reserved.MemoryMB != 0 || nodes[0].Replicas+nodes[2].Replicas != 3 {
					t.Errorf("the nodes have %+v, %v", nodes, err)
				}
				answer, err := w.engine().WhatIf(w.ctx, fleet.WhatIf{Kill: []string{"b"}})
				if err != nil || len(answer.Placed)+len(answer.Unplaced)+len(answer.Removed) != 0 || answer.Nodes[0].Replicas+answer.Nodes[1].Replicas+answer.Nodes[2].Replicas != 3 {
					t.Errorf("what if it were killed: %+v, %v", answer, err)
				}
				if err := w.engine().RemoveNode(w.ctx, "b", false); err != nil {
					t.Error(err)
				}
				if w.nodeState("b") != "" || len(w.endpoints("web")) != 3 {
					t.Errorf("b is %q, endpoints %v", w.nodeState("b"), w.endpoints("web"))
				}
			})
		})
	}
}

func TestAReplicaWhoseNodeIsSuspectedIsNotCalledHealthy(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.spec("db", "app:1", 1)
		spec.Volumes = []fleet.Volume{{Name: "data", Path: "/data"}}
		spec.HealthCheck = &fleet.HealthCheck{Type: fleet.CheckNone, Interval: fleet.DefaultInterval, Timeout: fleet.DefaultTimeout, Retries: fleet.DefaultRetries} // nothing else would tell
		w.deployed(spec)
		node := w.engine().Services()[0].Containers[0].NodeID
		w.on(node).silence(true)
		for _, state := range []fleet.NodeState{fleet.NodeSuspected, fleet.NodeDown} {
			w.untilNode(node, state)
			time.Sleep(time.Millisecond)
			s := w.engine().Services()[0]
			if s.Status != fleet.StatusDegraded || s.Health != fleet.Unknown || s.Containers[0].Health != fleet.Unknown {
				t.Errorf("while its node is %s: %+v", state, s)
			}
			if why, err := w.engine().Why("db"); err != nil || !strings.Contains(strings.Join(why.Reasons, "; "), "db-0 gets no requests: neither it nor its node "+node+" answers") {
				t.Errorf("why: %+v, %v", why, err)
			}
		}
		w.on(node).speak()
		w.untilServing("db", 1)
		if s := w.engine().Services()[0]; s.Status != fleet.StatusRunning || s.Health != fleet.Healthy {
			t.Errorf("when it is back: %+v", s)
		}
	})
}
