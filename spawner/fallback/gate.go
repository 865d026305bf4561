package fallback

import (
	"sync"
	"time"
)

// gate counts the requests that wait, up to a cap, and lets its owner wait
// until all have gone.
type gate struct {
	most int

	mu     sync.Mutex // guards the fields below
	held   int
	waited time.Duration // sum of the waits that ended
	closed bool
	empty  chan struct{} // closed when held is 0 after closed; nil before
}

// turn is one request's place among those that wait.
type turn struct {
	gate    *gate
	waiting bool
	since   time.Time
}

// enter counts a request in; Unavailable beyond the cap or after close.
func (g *gate) enter() (*turn, error) {
	t := &turn{gate: g}
	return t, t.wait()
}

// wait counts the request among those that wait (again).
func (t *turn) wait() error {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errClosing
	}
	if g.held >= g.most {
		return errTooMany
	}
	g.held++
	t.waiting, t.since = true, time.Now()
	return nil
}

// end counts the request out, if it waits.
func (t *turn) end() {
	if !t.waiting {
		return
	}
	t.waiting = false
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held--
	g.waited += time.Since(t.since)
	if g.held == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// count returns how many requests wait, and the sum of the waits that ended.
func (g *gate) count() (held int, waited time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held, g.waited
}

// close refuses further requests and returns when those that wait have gone.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	if g.held == 0 {
		g.mu.Unlock()
		return
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	<-empty
}
