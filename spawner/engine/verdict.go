package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"edgespawner/fleet"
)

// relistPause is between two looks at what runs on a node that is back.
const relistPause = time.Second

// thawGrace is how long nodes that are still silent when most answer again are
// given to answer, too, before their time counts: an engine that does not answer
// is tried again with back-off, and so not at once.
const thawGrace = 8 * time.Second

// connected takes up a node whose engine answers from now on. What is left there
// of replicas that were placed elsewhere is set aside before any edge is told of
// the node again. One that has not said who it is yet is asked until it does: with
// what networks it shares nothing can be placed there that others reach.
func (e *Engine) connected(ctx context.Context, m *member) (again bool) {
	for ctx.Err() == nil {
		err := e.askWho(ctx, m)
		if err == nil {
			break
		}
		e.log.Warn("A node that is connected does not say who it is", "node", m.name, "error", err)
		if m.heard() {
			break
		}
		pause(ctx, relistPause)
	}
	if ctx.Err() != nil {
		return false // it has gone again; that is told next
	}
	e.record(fleet.Event{Type: fleet.EventNode, NodeID: m.name, Message: fmt.Sprintf("Node %s is connected", m.name)})
	var before fleet.NodeState
	e.changeState(m, func() { before, _ = m.judged(func(j *judge) { j.answered(time.Now()) }) })
	m.meets.Do(func() { close(m.met) })
	for { // its routes are on again only when what runs there has been looked at
		var err error
		if again, err = e.reconcile(ctx, m.name); err == nil {
			break
		}
		if pause(ctx, relistPause); ctx.Err() != nil {
			return false
		}
	}
	for _, a := range e.actorsOn(m.name) {
		a.post(func() {
			a.nodeAnswers(m.name, before)
			a.nodeIsBack(m.name)
			a.verifyNetworks(m.name)
		})
	}
	e.placeLost()
	return again
}

// lost takes note that a node's engine does not answer. That alone changes no route.
func (e *Engine) lost(m *member, cause error) {
	e.record(fleet.Event{Type: fleet.EventNode, NodeID: m.name, Message: fmt.Sprintf("Node %s cannot be reached: %s", m.name, cause)})
	e.log.Warn("A node does not answer", "node", m.name, "error", cause)
	e.changeState(m, func() { m.judged(func(j *judge) { j.lost(time.Now()) }) })
}

// changeState lets a node change, and looks at what that means for all of them:
// when most are silent at once, it is this process that is cut off.
func (e *Engine) changeState(m *member, change func()) {
	e.members.mu.Lock()
	change()
	was := e.members.frozen
	now := time.Now()
	nodes := make([]silentNode, 0, len(e.members.of))
	all := make([]*member, 0, len(e.members.of))
	for _, m := range e.members.of {
		m.mu.Lock()
		nodes = append(nodes, silentNode{m.judge.silent, m.judge.state == fleet.NodeDown})
		m.mu.Unlock()
		all = append(all, m)
	}
	e.members.frozen = isCutOff(nodes, e.config.Failure.Window, was, now)
	frozen := e.members.frozen
	e.members.mu.Unlock()
	switch {
	case frozen && !was:
		e.freeze(all, now)
	case was && !frozen:
		for _, m := range all {
			m.judged(func(j *judge) { j.freeze(now.Add(thawGrace)) })
		}
		e.log.Info("Most nodes answer again", "node", m.name)
		e.record(fleet.Event{Type: fleet.EventNode, Message: "Most nodes answer again: nodes that do not are judged by their probes from now on"})
	}
}

// freeze leaves what stands on silent nodes as it is, and says so.
func (e *Engine) freeze(all []*member, now time.Time) {
	const text = "More than half of the nodes fell silent at once: the spawner takes itself for cut off. Until most answer again no node is declared down and nothing is moved; nodes that answer go on as ever"
	e.log.Error(text)
	e.record(fleet.Event{Type: fleet.EventNode, Message: text})
	for _, m := range all {
		before, after := m.judged(func(j *judge) { j.freeze(now) })
		e.tellState(m, before, after)
	}
}

// Frozen says why no node is declared down and nothing is moved at present; empty = that is done where it is due.
func (e *Engine) Frozen() string {
	e.members.mu.RLock()
	defer e.members.mu.RUnlock()
	if e.members.frozen {
		return "more than half of the nodes fell silent at once: no node is declared down, and nothing is moved"
	}
	return ""
}

// beginRound probes, beside the follower, the replicas of a node whose engine is silent.
func (e *Engine) beginRound(ctx context.Context, m *member) {
	select {
	case <-e.adopted:
	default:
		return
	}
	m.mu.Lock()
	begin := !m.judge.silent.IsZero() && !m.probing
	m.probing = m.probing || begin
	m.mu.Unlock()
	if !begin {
		return
	}
	e.group.Go(func() {
		serves := e.anyAnswers(ctx, m.name)
		select {
		case m.rounds <- serves:
		case <-ctx.Done():
		}
	})
}

// endRound takes the outcome of a round.
func (e *Engine) endRound(m *member, serves bool) {
	frozen := e.Frozen() != ""
	before, after := m.judged(func(j *judge) { j.round(serves, frozen, time.Now()) })
	m.mu.Lock()
	m.probing = false
	m.mu.Unlock()
	e.tellState(m, before, after)
}

// anyAnswers says whether any replica that runs on the node answers its clients.
func (e *Engine) anyAnswers(ctx context.Context, node string) bool {
	ctx, cancel := context.WithTimeout(ctx, e.config.Failure.ProbeEvery)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	any := false
	for _, r := range e.runningOn(ctx, node) {
		group.Go(func() {
			if !e.prober.Answers(ctx, r.target()) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			any = true
			cancel() // one is enough
		})
	}
	group.Wait()
	return any
}

// runningOn are the replicas on a node that are up, as far as is known, and have a port to ask.
func (e *Engine) runningOn(ctx context.Context, node string) []*replica {
	var list []*replica
	for _, a := range e.actorsOn(node) {
		err := a.call(ctx, func() {
			for _, r := range a.replicas {
				if v := r.look(); r.node == node && (v.state == stateReady || v.state == stateUnhealthy) && r.print.port != 0 {
					list = append(list, r)
				}
			}
		})
		if err != nil {
			e.log.Debug("A service went while its replicas were asked for", "service", a.name, "error", err)
		}
	}
	return list
}

// placeLost lets what found no place when its node went down look for one again.
func (e *Engine) placeLost() {
	for _, m := range e.members.list() {
		if m.look().State != fleet.NodeDown {
			continue
		}
		for _, a := range e.actorsOn(m.name) {
			a.post(a.relocateLost)
		}
	}
}

// tellState records a change of a node's state, and lets every service know what
// it is by then: two changes may be told in another order than they happened, and
// of a node that answers, connected tells.
func (e *Engine) tellState(m *member, before, after fleet.NodeState) {
	if before == after {
		return
	}
	e.log.Warn("A node changed state", "node", m.name, "from", before, "to", after)
	e.record(fleet.Event{Type: fleet.EventNode, NodeID: m.name, Message: stateMessage(m.name, after)})
	for _, a := range e.actorsOn(m.name) {
		a.post(func() {
			if state := m.look().State; state != fleet.NodeReady {
				a.nodeIs(m.name, state)
			}
		})
	}
}

func stateMessage(node string, state fleet.NodeState) string {
	switch state {
	case fleet.NodeUnmanaged:
		return fmt.Sprintf("Node %s is unmanaged: its engine does not answer, and what runs there does", node)
	case fleet.NodeSuspected:
		return fmt.Sprintf("Node %s is suspected: neither its engine nor what runs there answers; its routes are off", node)
	case fleet.NodeDown:
		return fmt.Sprintf("Node %s is down: its replicas are placed elsewhere", node)
	}
	return fmt.Sprintf("Node %s is %s", node, state)
}
