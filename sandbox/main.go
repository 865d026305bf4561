// Package main is the program of a replica's sandbox, the tiny container that
// keeps the replica's network while its app comes and goes.
//
// Without arguments it is process 1: it waits, reaps what is left to it and
// ends at once on SIGTERM. `sandbox conns` prints the TCP connections of its
// network namespace as JSON, in the shape of fleet.Connection. It opens no
// port, writes no file and imports nothing of this module, so that its binary
// and its memory stay small.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
)

// A process that only waits needs no heap to speak of; the limits keep what the
// runtime holds back near the few hundred kB that it starts with.
const (
	gcPercent   = 10
	memoryLimit = 4 << 20 // bytes
)

func main() {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		wait()
		return nil
	case len(args) == 1 && args[0] == "conns":
		return printConnections(os.Stdout)
	default:
		return fmt.Errorf("cannot understand %q: it takes no argument (wait) or conns", args)
	}
}
