package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
)

const (
	// reconcilePeriod is how often each node is listed although nothing was told:
	// what a lost notice hid is found by then.
	reconcilePeriod = 30 * time.Second
	// inspects is how many containers of a node are inspected at a time.
	inspects = 8
)

// look is what a node's engine said when it was asked for the first time.
type look struct {
	member *member
	found  []fleet.Container
	err    error // it does not answer
}

// join begins to follow a node. Looks gets what is found on it, and is told when
// it does not answer; it is never waited for. Nil = nobody asks.
func (e *Engine) join(node fleet.Node, looks chan<- look) error {
	e.members.mu.Lock()
	defer e.members.mu.Unlock()
	if _, there := e.members.of[node.Name]; there {
		return fleet.InvalidField("name", "there is a node %q already", node.Name)
	}
	ctx, stop := context.WithCancel(e.life)
	m := newMember(node, e.config.Failure, stop)
	alive := e.spawn(func() {
		defer close(m.ended)
		defer stop()
		told := e.hear(ctx, e.watcher.Watch(ctx, m.name))
		e.follow(ctx, e.meet(ctx, m, told, looks), m, told)
	})
	if !alive {
		stop()
		return errShutdown
	}
	e.members.putLocked(m)
	return nil
}

// meet waits for the end of the start, and tells it what is found on the node
// until then. A node that has not answered by then is taken up when it does.
// Standing is that of the newest notice.
func (e *Engine) meet(ctx context.Context, m *member, told <-chan heard, looks chan<- look) (standing context.Context) {
	connected := false
	var again <-chan time.Time
	standing = ctx
	for {
		select {
		case <-e.adopted:
			if connected {
				e.connected(standing, m)
			}
			return standing
		case <-again:
			again = e.firstLook(standing, m, looks)
		case n := <-told:
			if n.standing != nil { // none = there are no notices any more
				standing = n.standing
			}
			switch n.Action {
			case fleet.NoticeConnected:
				connected = true
				again = e.firstLook(standing, m, looks)
			case fleet.NoticeLost:
				connected, again = false, nil
				e.lost(m, n.Err)
				tellLook(looks, look{member: m, err: n.Err})
			}
		case <-ctx.Done():
			return standing
		}
	}
}

// firstLook tells the start what is found on a node; again is when to try that once more, nil = it is told.
func (e *Engine) firstLook(standing context.Context, m *member, looks chan<- look) (again <-chan time.Time) {
	found, err := e.lookAt(standing, m)
	if err != nil {
		e.log.Warn("Cannot look at a node", "node", m.name, "error", err)
		return time.After(relistPause)
	}
	m.judged(func(j *judge) { j.answered(time.Now()) })
	m.meets.Do(func() { close(m.met) })
	tellLook(looks, look{member: m, found: found})
	return nil
}

func tellLook(looks chan<- look, l look) {
	select {
	case looks <- l:
	default: // the start has gone on without it
	}
}

// lookAt asks an engine who it is and lists its containers, with what only an
// inspect tells of them.
func (e *Engine) lookAt(ctx context.Context, m *member) ([]fleet.Container, error) {
	if err := e.askWho(ctx, m); err != nil {
		return nil, err
	}
	list, err := e.containers.List(ctx, m.name)
	if err != nil {
		return nil, fmt.Errorf("cannot list node %s: %w", m.name, err)
	}
	return list, e.inspectAll(ctx, m.name, list)
}

// askWho takes in what an engine says of itself; what it has it is asked for beside.
func (e *Engine) askWho(ctx context.Context, m *member) error {
	info, err := e.nodes.Info(ctx, m.name)
	if err != nil {
		return fmt.Errorf("cannot ask node %s who it is: %w", m.name, err)
	}
	e.learn(m, info)
	e.spawn(func() { e.takeStock(ctx, m) })
	return nil
}

// inspectAll adds to a node's list what only an inspect tells.
func (e *Engine) inspectAll(ctx context.Context, node string, list []fleet.Container) error {
	var group sync.WaitGroup
	slots := make(chan struct{}, inspects)
	failures := make([]error, len(list))
	for i, c := range list {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			inspected, err := e.containers.Inspect(ctx, node, c.ID)
			switch {
			case err == nil:
				list[i] = inspected
			case fleet.KindOf(err) != fleet.NotFound:
				failures[i] = fmt.Errorf("cannot inspect %s: %w", c.Name, err)
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// follow keeps up with a node until ctx ends: its notices, and a list after
// each connection and each reconcilePeriod, and sooner while there may be foundlings:
// after the start, and when one was seen. While its engine is silent, its replicas are probed.
func (e *Engine) follow(ctx, standing context.Context, m *member, told <-chan heard) {
	tick := time.NewTicker(reconcilePeriod)
	defer tick.Stop()
	soon := time.NewTimer(foundlingPause)
	defer soon.Stop()
	probe := time.NewTicker(e.config.Failure.ProbeEvery)
	defer probe.Stop()
	e.beginRound(ctx, m)
	for {
		again := false
		select {
		case notice, ok := <-told:
			if !ok {
				return
			}
			standing = notice.standing
			again = e.notice(ctx, m, notice)
		case <-tick.C:
			again = e.reconcileIfAnswering(standing, m)
		case <-soon.C:
			again = e.reconcileIfAnswering(standing, m)
		case <-probe.C:
			e.beginRound(ctx, m)
			if m.waits() != "" {
				e.askOfSwarm(standing, m)
			}
		case serves := <-m.rounds:
			e.endRound(m, serves)
		}
		if again {
			soon.Reset(foundlingPause)
		}
	}
}

func (e *Engine) reconcileIfAnswering(ctx context.Context, m *member) (again bool) {
	if !e.members.answers(m.name) {
		return false
	}
	e.spawn(func() { e.takeStock(ctx, m) })
	again, _ = e.reconcile(ctx, m.name) // it has said what is wrong; the next look is not far
	return again
}

// notice takes one; again is that of reconcile.
func (e *Engine) notice(ctx context.Context, m *member, n heard) (again bool) {
	switch n.Action {
	case fleet.NoticeConnected:
		return e.connected(n.standing, m)
	case fleet.NoticeLost:
		e.lost(m, n.Err)
		e.beginRound(ctx, m)
		return false
	}
	e.containerNotice(n.Notice)
	return false
}

// firstLooks waits for what is found on the nodes: as long as it takes for one
// of them, and a little longer for the others that have not been found silent.
func (e *Engine) firstLooks(ctx context.Context, count int, looks <-chan look) ([]fleet.Container, error) {
	var found []fleet.Container
	var silent []string
	taken, pending := 0, map[*member]bool{}
	for _, m := range e.members.list() {
		pending[m] = true
	}
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	for len(pending) > 0 || taken == 0 && count > 0 {
		select {
		case l := <-looks:
			delete(pending, l.member)
			if l.err != nil {
				silent = append(silent, fmt.Sprint(l.err))
				continue
			}
			if taken++; taken == 1 {
				timeout.Reset(startGrace)
			}
			found = append(found, l.found...)
			l.member.mu.Lock()
			l.member.taken = true
			l.member.mu.Unlock()
		case <-timeout.C:
			if taken == 0 {
				return nil, noneAnswers(silent)
			}
			return found, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return found, nil
}

func noneAnswers(silent []string) error {
	if len(silent) > 0 {
		return fleet.Errorf(fleet.Unavailable, "no node answers within %s: %s", connectTimeout, strings.Join(silent, "; "))
	}
	return fleet.Errorf(fleet.Unavailable, "no node answers within %s", connectTimeout)
}
