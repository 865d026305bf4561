package main

import (
	"sync"
	"time"
)

// idle ends the app after a time without use.
type idle struct {
	after   time.Duration // 0 = never
	expired chan struct{} // closes when the time has passed
	once    sync.Once
	timer   *time.Timer
}

func newIdle(after time.Duration) *idle {
	i := &idle{after: after, expired: make(chan struct{})}
	if after > 0 {
		i.timer = time.AfterFunc(after, func() { i.once.Do(func() { close(i.expired) }) })
	}
	return i
}

// Used starts the time anew.
func (i *idle) Used() {
	if i.timer != nil {
		i.timer.Reset(i.after)
	}
}

// Expired is closed once the time has passed; never with 0.
func (i *idle) Expired() <-chan struct{} { return i.expired }

func (i *idle) Close() {
	if i.timer != nil {
		i.timer.Stop()
	}
}
