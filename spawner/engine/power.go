package engine

import "edgespawner/fleet"

// power is where a service stands between asleep and awake.
type power string

const (
	powerAsleep   power = "asleep"   // nothing serves and nothing is under way; dozing, stopped and deep too
	powerWaking   power = "waking"   // replicas are being started, requests wait
	powerAwake    power = "awake"    // at least one replica serves
	powerDraining power = "draining" // off the edge, last requests end; a request cancels
	powerStopping power = "stopping" // replicas are being stopped; this cannot be called back
	powerWanted   power = "wanted"   // stopping, and a request waits for the wake after it
	powerFailed   power = "failed"   // given up until the next request or deploy
)

// powerEvent is what can happen to a service's power.
type powerEvent string

const (
	eventRequest     powerEvent = "request"      // a client or a user wants it awake
	eventReady       powerEvent = "ready"        // a replica became ready
	eventStartFailed powerEvent = "start failed" // no replica is ready and none is being started any more
	eventSleep       powerEvent = "sleep"        // a user or idleness wants it asleep
	eventDrained     powerEvent = "drained"      // nothing is in flight any more
	eventStopped     powerEvent = "stopped"      // every replica is down
	eventEnded       powerEvent = "ended"        // the last app ended, and that is no fault
	eventGaveUp      powerEvent = "gave up"      // the last app ended too often
)

// effect is what a transition asks the actor to do.
type effect string

const (
	effectNone    effect = ""
	effectStart   effect = "start"   // want every replica up
	effectServe   effect = "serve"   // publish the endpoints, answer who waits
	effectDrain   effect = "drain"   // publish without endpoints, wait for the edges and for silence
	effectStop    effect = "stop"    // want every replica down
	effectRest    effect = "rest"    // publish without endpoints; nothing runs
	effectFail    effect = "fail"    // publish without endpoints, answer who waits with the error
	effectRefuse  effect = "refuse"  // answer the caller that this cannot be done now
	effectInvalid effect = "invalid" // cannot happen: log it as a fault of the program
)

// next returns where an event leads and what is to be done on the way.
func (p power) next(event powerEvent) (power, effect) {
	switch event {
	case eventRequest:
		return p.onRequest()
	case eventReady:
		if p == powerWaking {
			return powerAwake, effectServe
		}
		if p == powerAwake {
			return powerAwake, effectServe
		}
		return p, effectNone // a start that was overtaken
	case eventStartFailed:
		if p == powerWaking {
			return powerFailed, effectFail
		}
		return p, effectNone
	case eventSleep:
		return p.onSleep()
	case eventDrained:
		if p == powerDraining {
			return powerStopping, effectStop
		}
		return p, effectNone // it was called back
	case eventStopped:
		switch p {
		case powerStopping:
			return powerAsleep, effectRest
		case powerWanted:
			return powerWaking, effectStart
		}
		return p, effectNone
	case eventEnded:
		switch p {
		case powerAwake, powerDraining:
			return powerAsleep, effectRest
		}
		return p, effectNone
	case eventGaveUp:
		switch p {
		case powerAwake, powerDraining, powerWaking:
			return powerFailed, effectFail
		}
		return p, effectNone
	}
	return p, effectInvalid
}

func (p power) onRequest() (power, effect) {
	switch p {
	case powerAsleep, powerFailed:
		return powerWaking, effectStart
	case powerWaking, powerWanted:
		return p, effectNone // joins the wake under way
	case powerAwake:
		return p, effectNone
	case powerDraining:
		return powerAwake, effectServe
	case powerStopping:
		return powerWanted, effectNone
	}
	return p, effectInvalid
}

func (p power) onSleep() (power, effect) {
	switch p {
	case powerAwake:
		return powerDraining, effectDrain
	case powerAsleep, powerDraining, powerStopping:
		return p, effectNone // it is so, or on the way
	case powerFailed:
		return powerStopping, effectStop // replicas that did start are stopped
	case powerWaking, powerWanted:
		return p, effectRefuse
	}
	return p, effectInvalid
}

// settled says whether the service neither falls asleep nor waits for that.
func (p power) settled() bool {
	return p != powerDraining && p != powerStopping && p != powerWanted
}

// desired is what the store keeps of a power, so that a restart goes on from it.
func (p power) desired(mode fleet.SleepMode) fleet.Power {
	switch p {
	case powerAwake, powerWaking, powerWanted, powerDraining:
		return fleet.PowerAwake
	case powerFailed:
		return fleet.PowerStopped
	}
	switch mode {
	case fleet.SleepPause:
		return fleet.PowerDozing
	case fleet.SleepDeep:
		return fleet.PowerDeep
	}
	return fleet.PowerAsleep
}
