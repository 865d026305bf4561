package docker

import (
	"context"
	"strings"
)

// Freezer pauses containers.
type Freezer struct{ pool *Pool }

// Freezer returns the view of the pool that pauses containers.
func (p *Pool) Freezer() *Freezer { return &Freezer{p} }

// Pause freezes a running container; nil when it is paused already.
func (f *Freezer) Pause(ctx context.Context, nodeName, id string) error {
	return f.pool.ask(ctx, nodeName, "pause container "+short(id), func(ctx context.Context, n *node) error {
		err := n.client.ContainerPause(ctx, id)
		if err != nil && strings.Contains(err.Error(), "is already paused") {
			return nil
		}
		return err
	})
}

// Unpause lets a container go on; nil when it is not paused.
func (f *Freezer) Unpause(ctx context.Context, nodeName, id string) error {
	return f.pool.ask(ctx, nodeName, "unpause container "+short(id), func(ctx context.Context, n *node) error {
		err := n.client.ContainerUnpause(ctx, id)
		if notPaused(err) {
			return f.confirmUnpaused(ctx, n, id, err)
		}
		return err
	})
}

// confirmUnpaused tells one that goes on from one that is down: the engine
// gives both the same answer.
func (f *Freezer) confirmUnpaused(ctx context.Context, n *node, id string, refused error) error {
	found, err := n.client.ContainerInspect(ctx, id)
	if err != nil {
		return err
	}
	if found.State != nil && found.State.Running && !found.State.Paused {
		return nil
	}
	return refused
}

// notPaused says whether err is an unpause of a container that is not paused.
func notPaused(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "is not paused") || strings.Contains(err.Error(), "cannot resume a running process"))
}
