// Package engine holds the verbs of the product: deploy, scale, restart, roll
// back, remove, wake, sleep, and the healing of what broke. It decides what the
// containers of a service should be and makes them so; how an engine of
// containers, a store or an edge is spoken to is behind the ports in ports.go.
//
// # Who does what
//
// Each service has one actor (actor.go): a goroutine that owns all that is
// known of the service and takes one message after another. Nothing slow runs
// in it. Each replica has one driver (driver.go): a goroutine that moves that
// replica's two containers to where they are wanted (up, paused, stopped, deep,
// gone), one call to the engine of containers after another, so that a start
// never overtakes a stop. A job (jobs.go) runs in a worker of its own and
// changes a service only through messages to its actor. So a wake, which needs
// the actor and the drivers, never waits for a job.
//
// # The power of a service
//
// power.go is the state machine of a service, its transitions a pure function:
//
//	          request                ready
//	asleep ────────────▶ waking ────────────▶ awake ◀───────────┐
//	  ▲  ▲                 │ startFailed        │ │ sleep       │ request
//	  │  │                 ▼                    │ ▼             │
//	  │  │   request ◀─ failed ◀───── gaveUp ───┘ draining ─────┘
//	  │  │  ended                                 │ drained
//	  │  └──────────────── awake, draining        ▼
//	  │                                       stopping ──request──▶ stopping, wanted
//	  └────────────────── stopped ────────────────┘                   │ stopped
//	                                               waking ◀───────────┘
//
// # Promises
//
// What a snapshot holds is never changed after it is published. A replica
// leaves the snapshot, and every edge confirms that, before it is stopped. An
// event is told to followers only after it is stored. Wakes by request write
// nothing to the store before they answer.
package engine
