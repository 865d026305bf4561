package main

import (
	"os"
	"os/signal"
	"syscall"
)

// wait reaps children until a signal ends it. As process 1 it has no default
// actions for signals, and whatever loses its parent becomes its child.
func wait() { waitReady(func() {}) }

// waitReady calls ready once signals are handled.
func waitReady(ready func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGCHLD)
	ready()
	reap() // what died before we listened
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		reap()
	}
}

// reap collects every child that has ended; signals of several may arrive as one.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
