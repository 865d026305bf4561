package engine

import (
	"fmt"
	"time"

	"edgespawner/fleet"
)

// edgeIdleTimeout is how long the edge keeps an idle connection to an app (its
// transport's idleConnTimeout). A connection that outlives it is in use.
const edgeIdleTimeout = 5 * time.Second

// evidence is what is known of the use of a service, cheapest first.
type evidence struct {
	after    time.Duration // the policy; 0 = never sleeps by itself
	held     int           // requests that the fallback holds or proxies now
	lastHeld time.Time     // when the last of those ended
	awake    time.Time     // when it woke or was deployed
	counted  time.Time     // the last request that an edge counted
	known    bool          // every edge could be asked
}

// verdict is what evidence says: idle now, or in use until the time it is worth asking again.
type verdict struct {
	idle   bool
	reason string        // why it stays awake
	again  time.Duration // when to look again
}

// judge says from the cheap evidence whether a service is idle. Doubt is use.
func (e evidence) judge(now time.Time) verdict {
	switch {
	case e.held > 0:
		return verdict{reason: fleet.CountedAre(e.held, "request") + " held or proxied by the fallback router", again: time.Second}
	case e.after <= 0:
		return verdict{reason: "it has no sleep.after: it sleeps only when told to", again: time.Minute}
	case !e.known:
		return verdict{reason: "an edge's counters cannot be read, so nobody can say that it is idle", again: 5 * time.Second}
	}
	last := latest(e.lastHeld, e.awake, e.counted)
	if left := e.after - now.Sub(last); left > 0 {
		return verdict{reason: fmt.Sprintf("it was used %s ago, and sleeps after %s", now.Sub(last).Round(time.Second), e.after), again: left}
	}
	return verdict{idle: true}
}

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// inUse returns the connections that show use: inbound, from another container
// or host. An idle connection that an edge keeps is among them until
// edgeIdleTimeout has passed since its last request.
func inUse(connections []fleet.Connection) []fleet.Connection {
	var used []fleet.Connection
	for _, c := range connections {
		if c.Inbound && !c.Remote.Addr().Unmap().IsLoopback() {
			used = append(used, c)
		}
	}
	return used
}
