package engine

import (
	"testing"

	"edgespawner/fleet"
)

var (
	allPowers = []power{powerAsleep, powerWaking, powerAwake, powerDraining, powerStopping, powerWanted, powerFailed}
	allEvents = []powerEvent{eventRequest, eventReady, eventStartFailed, eventSleep, eventDrained, eventStopped, eventEnded, eventGaveUp}
)

type step struct {
	to   power
	what effect
}

// powerTable is the whole state machine: each power and event, and what follows.
var powerTable = map[power]map[powerEvent]step{
	powerAsleep: {
		eventRequest: {powerWaking, effectStart}, eventReady: {powerAsleep, effectNone},
		eventStartFailed: {powerAsleep, effectNone}, eventSleep: {powerAsleep, effectNone},
		eventDrained: {powerAsleep, effectNone}, eventStopped: {powerAsleep, effectNone},
		eventEnded: {powerAsleep, effectNone}, eventGaveUp: {powerAsleep, effectNone},
	},
	powerWaking: {
		eventRequest: {powerWaking, effectNone}, eventReady: {powerAwake, effectServe},
		eventStartFailed: {powerFailed, effectFail}, eventSleep: {powerWaking, effectRefuse},
		eventDrained: {powerWaking, effectNone}, eventStopped: {powerWaking, effectNone},
		eventEnded: {powerWaking, effectNone}, eventGaveUp: {powerFailed, effectFail},
	},
	powerAwake: {
		eventRequest: {powerAwake, effectNone}, eventReady: {powerAwake, effectServe},
		eventStartFailed: {powerAwake, effectNone}, eventSleep: {powerDraining, effectDrain},
		eventDrained: {powerAwake, effectNone}, eventStopped: {powerAwake, effectNone},
		eventEnded: {powerAsleep, effectRest}, eventGaveUp: {powerFailed, effectFail},
	},
	powerDraining: {
		eventRequest: {powerAwake, effectServe}, eventReady: {powerDraining, effectNone},
		eventStartFailed: {powerDraining, effectNone}, eventSleep: {powerDraining, effectNone},
		eventDrained: {powerStopping, effectStop}, eventStopped: {powerDraining, effectNone},
		eventEnded: {powerAsleep, effectRest}, eventGaveUp: {powerFailed, effectFail},
	},
	powerStopping: {
		eventRequest: {powerWanted, effectNone}, eventReady: {powerStopping, effectNone},
		eventStartFailed: {powerStopping, effectNone}, eventSleep: {powerStopping, effectNone},
		eventDrained: {powerStopping, effectNone}, eventStopped: {powerAsleep, effectRest},
		eventEnded: {powerStopping, effectNone}, eventGaveUp: {powerStopping, effectNone},
	},
	powerWanted: {
		eventRequest: {powerWanted, effectNone}, eventReady: {powerWanted, effectNone},
		eventStartFailed: {powerWanted, effectNone}, eventSleep: {powerWanted, effectRefuse},
		eventDrained: {powerWanted, effectNone}, eventStopped: {powerWaking, effectStart},
		eventEnded: {powerWanted, effectNone}, eventGaveUp: {powerWanted, effectNone},
	},
	powerFailed: {
		eventRequest: {powerWaking, effectStart}, eventReady: {powerFailed, effectNone},
		eventStartFailed: {powerFailed, effectNone}, eventSleep: {powerStopping, effectStop},
		eventDrained: {powerFailed, effectNone}, eventStopped: {powerFailed, effectNone},
		eventEnded: {powerFailed, effectNone}, eventGaveUp: {powerFailed, effectNone},
	},
}

func TestEveryPowerKnowsEveryEvent(t *testing.T) {
	for _, from := range allPowers {
		for _, event := range allEvents {
			want, listed := powerTable[from][event]
			if !listed {
				t.Errorf("%s × %s stands in no row of the table", from, event)
				continue
			}
			to, what := from.next(event)
			if to != want.to || what != want.what {
				t.Errorf("%s × %s leads to %s with %q, want %s with %q", from, event, to, what, want.to, want.what)
			}
			if what == effectInvalid {
				t.Errorf("%s × %s is invalid", from, event)
			}
		}
	}
}

func TestWhatIsNotKnownIsInvalid(t *testing.T) {
	for _, event := range []powerEvent{eventRequest, eventSleep} {
		if to, what := power("nowhere").next(event); what != effectInvalid || to != "nowhere" {
			t.Errorf("an unknown power × %s: %s, %q", event, to, what)
		}
	}
	if to, what := powerAwake.next("a comet"); what != effectInvalid || to != powerAwake {
		t.Errorf("an unknown event: %s, %q", to, what)
	}
}

func TestEveryPowerIsReachedFromEveryOther(t *testing.T) {
	for _, from := range allPowers {
		reached := map[power]bool{from: true}
		queue := []power{from}
		for len(queue) > 0 {
			at := queue[0]
			queue = queue[1:]
			for _, event := range allEvents {
				if to, _ := at.next(event); !reached[to] {
					reached[to] = true
					queue = append(queue, to)
				}
			}
		}
		if len(reached) != len(allPowers) {
			t.Errorf("from %s only %v are reached", from, reached)
		}
	}
}

func TestAServiceThatSleepsIsStoredAsDeepAsItSleeps(t *testing.T) {
	for _, p := range allPowers {
		for mode, asleep := range map[fleet.SleepMode]fleet.Power{
			fleet.SleepPause: fleet.PowerDozing, fleet.SleepStop: fleet.PowerAsleep, fleet.SleepDeep: fleet.PowerDeep,
		} {
			want := fleet.PowerAwake
			switch p {
			case powerAsleep, powerStopping:
				want = asleep
			case powerFailed:
				want = fleet.PowerStopped
			}
			if got := p.desired(mode); got != want {
				t.Errorf("%s with %s is stored as %s, want %s", p, mode, got, want)
			}
		}
	}
}
