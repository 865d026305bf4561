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
// # Where to look
//
//	the whole and its ports     engine.go ports.go observer.go
//	what is asked of it         verbs.go deploy.go admission.go questions.go whatif.go rebalance.go
//	a service                   actor.go power.go usage.go wake.go sleep.go idle.go converge.go saver.go
//	a replica                   replica.go blueprint.go driver.go create.go ready.go health.go hostport.go volumes.go
//	jobs and their steps        jobs.go steps.go abreast.go retry.go park.go goon.go
//	what jobs do                plan.go bringto.go rollout.go elsewhere.go swap.go takeback.go sweep.go remove.go move.go
//	healing                     observe.go heal.go restart.go backoff.go unhealthy.go lastwords.go drift.go lostnetwork.go
//	nodes that come and go      members.go node.go updatenode.go follow.go hearing.go nodestate.go verdict.go relocate.go
//	where replicas go           placement.go ledger.go reserved.go stock.go
//	networks, names, addresses  networks.go shared.go reach.go registry.go claim.go
//	a start                     takeup.go adopt.go rebuild.go foundlings.go standings.go
//	what is told                board.go recorder.go follower.go logs.go followlogs.go mergelogs.go
//
// # Promises
//
// What a snapshot holds is never changed after it is published. A replica
// leaves the snapshot, and every edge confirms that, before it is stopped. An
// event is told to followers only after it is stored. Wakes by request write
// nothing to the store before they answer.
package engine
