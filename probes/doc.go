// Package probes runs health checks against replicas: over HTTP and TCP from
// here, as a command or the image's HEALTHCHECK inside the app through an
// Execer. A Prober does it once (Probe), at the tight cadence of a wake until
// the first success (Await), or on a schedule while a replica is awake (Watch
// and Run), and then reports what changed.
//
// It judges and reports; it never starts, stops or restarts anything. Every
// probe goes to the replica's own address, whatever host the check names, and
// neither a response's body nor a command's output is ever kept or reported.
package probes
