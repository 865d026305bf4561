package engine

import (
	"time"

	"edgespawner/fleet"
)

// The state of a node. Silence of its engine alone changes no route: what runs
// there may serve as before, and only its probes tell.
//
//	             lost                  mute for SuspectAfter       mute for DownAfter
//	ready ────────────────▶ silent ─────────────────────▶ suspected ─────────────▶ down
//	  ▲                      │  ▲                          │  ▲                      │
//	  │                serves│  │frozen              serves│  │mute                  │
//	  │                      ▼  └──────────────────────────┤  │                      │
//	  │                   unmanaged ◀──────────────────────┘  │                      │
//	  │                      └─────────────────────────────────┘                      │
//	  └──────────────────────────────── answered ─────────────────────────────────────┘
//
// A node that is down comes back by its engine's answer alone: its replicas have
// been placed elsewhere, and what is left of them there is removed first.

// nodeEvent is what can happen to the state of a node.
type nodeEvent string

const (
	nodeAnswered nodeEvent = "answered" // its engine answers, and what runs there has been looked at
	nodeLost     nodeEvent = "lost"     // its engine does not answer
	nodeServes   nodeEvent = "serves"   // while it does not, a replica there answers its probes
	nodeMute     nodeEvent = "mute"     // none has for SuspectAfter
	nodeOverdue  nodeEvent = "overdue"  // none has for DownAfter
	nodeFrozen   nodeEvent = "frozen"   // most nodes fell silent: nothing is concluded of any that is mute
)

// nextNodeState returns where an event leads; false when there is no such event.
func nextNodeState(s fleet.NodeState, event nodeEvent) (fleet.NodeState, bool) {
	switch event {
	case nodeAnswered:
		return fleet.NodeReady, true
	case nodeLost:
		if s == fleet.NodeReady || s == fleet.NodeUnknown {
			return fleet.NodeSilent, true
		}
		return s, true
	case nodeServes:
		if s == fleet.NodeSilent || s == fleet.NodeSuspected {
			return fleet.NodeUnmanaged, true
		}
		return s, true
	case nodeMute:
		if s == fleet.NodeSilent || s == fleet.NodeUnmanaged {
			return fleet.NodeSuspected, true
		}
		return s, true
	case nodeOverdue:
		if s == fleet.NodeSuspected {
			return fleet.NodeDown, true
		}
		return s, true
	case nodeFrozen:
		if s == fleet.NodeSuspected {
			return fleet.NodeSilent, true
		}
		return s, true
	}
	return s, false
}

// offTheEdge says whether the replicas of a node in this state get no requests.
func offTheEdge(s fleet.NodeState) bool {
	return s == fleet.NodeSuspected || s == fleet.NodeDown
}

// FailureLimits say how soon a node is given up. The zero value stands for the defaults.
type FailureLimits struct {
	ProbeEvery   time.Duration // between two rounds of probes of a silent node's replicas
	SuspectAfter time.Duration // without any answer from a silent node, until its routes are off
	DownAfter    time.Duration // the same, until its replicas are placed elsewhere
	Window       time.Duration // in which the silence of most nodes is taken for our own
}

// The defaults of FailureLimits.
const (
	DefaultNodeProbeEvery   = time.Second
	DefaultNodeSuspectAfter = 2 * time.Second
	DefaultNodeDownAfter    = 5 * time.Second
	DefaultSilenceWindow    = 10 * time.Second
)

func (l FailureLimits) orDefaults() FailureLimits {
	for _, limit := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&l.ProbeEvery, DefaultNodeProbeEvery}, {&l.SuspectAfter, DefaultNodeSuspectAfter},
		{&l.DownAfter, DefaultNodeDownAfter}, {&l.Window, DefaultSilenceWindow},
	} {
		if *limit.value == 0 {
			*limit.value = limit.fallback
		}
	}
	return l
}

// How flapping is damped: from its second silence within flapMemory on, a node
// that comes back gets nothing new for flapPause, doubling with each up to flapLongest.
const (
	flapMemory  = 10 * time.Minute
	flapPause   = 15 * time.Second
	flapLongest = 5 * time.Minute
)

// judge decides what the silence of one node's engine means. It is pure: it is
// told what happened and when.
type judge struct {
	limits   FailureLimits
	state    fleet.NodeState
	silent   time.Time   // since when the engine does not answer; zero = it does
	mute     time.Time   // since when no replica there has answered either, as far as that counts; zero = one has
	unheard  time.Time   // the same, whether it counts or not
	muted    bool        // by the last round, unheard for SuspectAfter
	silences []time.Time // within flapMemory
	settles  time.Time   // until then it gets nothing new
}

func newJudge(limits FailureLimits) judge {
	return judge{limits: limits, state: fleet.NodeUnknown}
}

func (j *judge) take(event nodeEvent) {
	j.state, _ = nextNodeState(j.state, event)
}

// answered takes note that the engine answers.
func (j *judge) answered(now time.Time) {
	if j.state != fleet.NodeReady && len(j.silences) > 1 {
		j.settles = now.Add(doubled(flapPause, len(j.silences)-2, flapLongest))
	}
	j.silent, j.mute, j.muted = time.Time{}, time.Time{}, false
	j.take(nodeAnswered)
}

// lost takes note that the engine does not answer.
func (j *judge) lost(now time.Time) {
	if !j.silent.IsZero() {
		return
	}
	j.silent, j.mute, j.unheard = now, now, now
	recent := j.silences[:0]
	for _, at := range j.silences {
		if now.Sub(at) < flapMemory {
			recent = append(recent, at)
		}
	}
	j.silences = append(recent, now)
	j.take(nodeLost)
}

// round takes the outcome of a round of probes of the replicas of a silent node,
// of which nothing bad is concluded while most nodes are silent.
func (j *judge) round(serves, frozen bool, now time.Time) {
	if j.silent.IsZero() {
		return
	}
	if serves {
		j.mute, j.unheard, j.muted = time.Time{}, time.Time{}, false
		j.take(nodeServes)
		return
	}
	if j.unheard.IsZero() {
		j.unheard = now
	}
	j.muted = now.Sub(j.unheard) >= j.limits.SuspectAfter
	if frozen {
		j.freeze(now)
		return
	}
	if j.mute.IsZero() {
		j.mute = now
	}
	if now.Sub(j.mute) >= j.limits.SuspectAfter {
		j.take(nodeMute)
	}
	if now.Sub(j.mute) >= j.limits.DownAfter {
		j.take(nodeOverdue)
	}
}

// freeze takes back what is suspected; what time passes until now, or until the
// next round if that is later, counts for nothing.
func (j *judge) freeze(now time.Time) {
	if !j.silent.IsZero() {
		j.mute = now
	}
	j.take(nodeFrozen)
}

// settling says whether the node came back so often that it gets nothing new yet.
func (j *judge) settling(now time.Time) bool { return now.Before(j.settles) }

// silentNode is what the decision to freeze goes by.
type silentNode struct {
	silent time.Time // zero = it answers
	down   bool      // it has been given up before
}

// isCutOff says whether so many nodes are silent that this process is the one that
// is cut off: more than half of them, and, to begin with, within one window.
func isCutOff(nodes []silentNode, window time.Duration, already bool, now time.Time) bool {
	if len(nodes) < 2 {
		return false
	}
	silent := 0
	for _, n := range nodes {
		if !n.silent.IsZero() && !n.down && (already || now.Sub(n.silent) <= window) {
			silent++
		}
	}
	return 2*silent > len(nodes)
}
