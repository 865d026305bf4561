// Package docker speaks to the engines of the nodes: it is the only package
// that knows Docker's SDK, and no type of that leaves it. A Pool holds one
// client per node; its views (Containers, Freezer, Images, Networks, Watcher,
// Shell) are what the engine's ports ask for, and every error that leaves them
// is an *fleet.Error or ends a context. It decides nothing: what to start,
// where and when is the caller's.
//
// # Errors
//
// NotFound without a field is the container (network, image) that was asked
// for. A field says what else is missing or in the way: "image", "networks",
// "sandbox" (the container to be joined is gone or down), "host_port",
// "address" (a fixed one that is taken), "subnet", "name", "command", "user".
// Unavailable is an engine that does not answer; the outcome of a call that
// ended so is unknown.
//
// # Contexts
//
// Start and Stop go on when their caller leaves: an engine does so too, and
// newer ones would otherwise hand the caller's end to half-done network steps.
// The caller gets its context's error at once. After a time-out of their own
// they look at what has become of the container, and only then answer.
// Every other call ends with its context, and has an upper bound of its own.
//
// # The lease
//
// One container per engine and fleet, labelled and never started, is held by
// one spawner; see Pool.AcquireLease for how it changes hands.
package docker
