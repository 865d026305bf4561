package engine

import (
	"context"

	"edgespawner/fleet"
)

// heard is a notice of a node, as its follower gets it.
type heard struct {
	fleet.Notice
	// standing ends as soon as the engine is lost again, although the notice of
	// that has not been taken yet: what is asked of it meanwhile would hang.
	standing context.Context
}

// mostUnheard is how many notices wait for a follower that is held up. Of more
// than that none is kept: the node is listed anew instead.
const mostUnheard = 10_000

// hear hands a node's notices on to its follower, until ctx ends. What the
// follower asks of an engine must not keep it from learning that the engine has
// gone: so each notice comes with the context that ends then, and they are taken
// however many wait already.
func (e *Engine) hear(ctx context.Context, notices <-chan fleet.Notice) <-chan heard {
	told := make(chan heard)
	alive := e.spawn(func() {
		defer close(told)
		ears := ears{ctx: ctx}
		ears.standing, ears.fall = context.WithCancel(ctx)
		defer func() { ears.fall() }()
		for notices != nil || len(ears.waiting) > 0 {
			out, next := ears.next(told)
			select {
			case n, ok := <-notices:
				if !ok {
					notices = nil
					break
				}
				ears.take(n)
			case out <- next:
				ears.waiting = ears.waiting[1:]
			case <-ctx.Done():
				return
			}
		}
	})
	if !alive {
		close(told)
	}
	return told
}

// ears are what is heard of a node and not told to its follower yet.
type ears struct {
	ctx      context.Context
	standing context.Context // of the present connection; fall ends it
	fall     context.CancelFunc
	waiting  []heard
}

// next is the notice that is told next, and where to; nil = none waits.
func (e *ears) next(told chan<- heard) (chan<- heard, heard) {
	if len(e.waiting) == 0 {
		return nil, heard{}
	}
	return told, e.waiting[0]
}

func (e *ears) take(n fleet.Notice) {
	switch n.Action {
	case fleet.NoticeConnected:
		e.fall()
		e.standing, e.fall = context.WithCancel(e.ctx)
	case fleet.NoticeLost:
		e.fall()
	}
	if len(e.waiting) >= mostUnheard {
		e.waiting = nil
		if n.Action != fleet.NoticeLost { // behind that comes a connection, which is listed anyway
			n = fleet.Notice{Node: n.Node, Action: fleet.NoticeConnected, Time: n.Time}
		}
	}
	e.waiting = append(e.waiting, heard{n, e.standing})
}
