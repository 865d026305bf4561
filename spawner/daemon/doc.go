// Package daemon is the one place that knows everyone: it holds the
// configuration of a spawner, wires its parts together, runs them and ends them
// in order. It decides nothing about services.
package daemon
