package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"edgespawner/fleet"
)

const (
	peerTimeout  = 5 * time.Second  // for a node's word on whether it has an image
	bringTimeout = 30 * time.Minute // of a whole transfer
)

// unpackPatience is how long nothing of an archive may come before its transfer is
// given up. It is as long as an engine may take to unpack the last of it, of which it says nothing.
const unpackPatience = 15 * time.Minute

// errStalled is a transfer of which nothing has come for unpackPatience.
var errStalled = errors.New("the transfer stands still")

// transfers are the images on their way from one node to another: one for each
// image and node at a time.
type transfers struct {
	mu  sync.Mutex
	way map[transfer]chan struct{} // closed when it has ended
}

// transfer is an image on its way to a node.
type transfer struct{ node, id string }

// begin takes a transfer on; else it returns what closes when the one under way has ended.
func (t *transfers) begin(one transfer) (end func(), underWay <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ended, there := t.way[one]; there {
		return nil, ended
	}
	ended := make(chan struct{})
	t.way[one] = ended
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.way, one)
		close(ended)
	}, nil
}

// Bring makes sure that an image is on a node, taking it from another node that
// has it; no registry is asked. Its id stays; what a registry calls it does not
// come along. NotFound when no node has it for this node's platform.
func (i *Images) Bring(ctx context.Context, nodeName, ref string) (fleet.Image, error) {
	n, err := i.pool.engine(ctx, nodeName)
	if err != nil {
		return fleet.Image{}, err
	}
	verb := "bring image " + ref
	local, err := i.local(ctx, n, ref)
	if err == nil || !isNotFound(err) {
		return local, translate(ctx, n, verb, err)
	}
	found, err := i.findElsewhere(ctx, n, ref)
	if err != nil {
		return fleet.Image{}, err
	}
	if found == nil {
		return fleet.Image{}, fail(nil, fleet.NotFound, fieldImage, "image %s is on no node that answers, for the platform of node %s", ref, nodeName)
	}
	return i.bring(ctx, n, found, ref)
}

// bring takes an image to n from the node that has it.
func (i *Images) bring(ctx context.Context, n *node, found *holding, ref string) (fleet.Image, error) {
	verb := "bring image " + ref
	if err := i.transfer(ctx, n, found, ref); err != nil {
		return fleet.Image{}, translate(ctx, n, verb, err)
	}
	got, err := i.local(ctx, n, found.image.ID)
	if err != nil {
		return fleet.Image{}, translate(ctx, n, verb, err)
	}
	got.Ref = ref
	return got, nil
}

// holding is a node that has an image.
type holding struct {
	node  *node
	image image.InspectResponse
	made  time.Time
}

// findElsewhere asks every other node for an image and returns the newest that
// fits the platform of n; nil when there is none.
func (i *Images) findElsewhere(ctx context.Context, n *node, ref string) (*holding, error) {
	peers := i.pool.peers(n)
	if len(peers) == 0 {
		return nil, nil
	}
	bounded, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	wanted, err := n.client.ServerVersion(bounded)
	if err != nil {
		return nil, translate(ctx, n, "ask the engine for its platform", err)
	}
	holdings := make([]*holding, len(peers))
	var asking sync.WaitGroup
	for k, peer := range peers {
		asking.Go(func() {
			engine, err := i.pool.engine(bounded, peer)
			if err != nil {
				return // it is silent: it gives nothing
			}
			found, err := engine.client.ImageInspect(bounded, ref)
			if err != nil || found.Os != wanted.Os || found.Architecture != wanted.Arch {
				return
			}
			made, _ := time.Parse(time.RFC3339Nano, found.Created) // else it counts as the oldest
			holdings[k] = &holding{node: engine, image: found, made: made}
		})
	}
	asking.Wait()
	var newest *holding
	for _, h := range holdings {
		if h != nil && (newest == nil || h.made.After(newest.made)) {
			newest = h
		}
	}
	return newest, ctx.Err()
}

// peers are the names of all nodes but n.
func (p *Pool) peers(n *node) []string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var names []string
	for name := range p.nodes {
		if name != n.name {
			names = append(names, name)
		}
	}
	return names
}

// transfer brings the image to n, or waits for the one who does.
func (i *Images) transfer(ctx context.Context, n *node, from *holding, ref string) error {
	for {
		end, underWay := i.pool.transfers.begin(transfer{n.name, from.image.ID})
		if end != nil {
			err := i.pool.detach(ctx, bringTimeout, func(ctx context.Context) error {
				defer end()
				if _, err := i.local(ctx, n, from.image.ID); err == nil {
					return nil // another transfer has ended since it was looked for
				}
				return i.stream(ctx, n, from, ref)
			})
			if errors.Is(err, errEnding) {
				end() // it never began
			}
			return err
		}
		select {
		case <-underWay:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stream lets one engine's archive run into the other; nothing of it is kept here.
func (i *Images) stream(ctx context.Context, n *node, from *holding, ref string) error {
	i.pool.log.Info("Bringing an image", "image", ref, "from", from.node.name, "node", n.name, "bytes", from.image.Size)
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(unpackPatience, func() { cancel(errStalled) })
	defer stall.Stop()
	archive, err := from.node.client.ImageSave(ctx, []string{from.image.ID})
	if err != nil {
		return fmt.Errorf("cannot save it on node %s: %w", from.node.name, err)
	}
	defer archive.Close()
	answer, err := n.client.ImageLoad(ctx, &watchedReader{archive, func() { stall.Reset(unpackPatience) }}, client.ImageLoadWithQuiet(true))
	if err == nil {
		err = errors.Join(readProgress(answer.Body, func() {}), answer.Body.Close())
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		err = errStalled
	}
	if err != nil {
		return fmt.Errorf("cannot bring it from node %s: %w", from.node.name, err)
	}
	i.nameAlike(ctx, n, from)
	i.pool.log.Info("Brought an image", "image", ref, "from", from.node.name, "node", n.name, "bytes", from.image.Size, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// nameAlike gives an image that was brought the names that it has where it came
// from, but for those that mean another image here.
func (i *Images) nameAlike(ctx context.Context, n *node, from *holding) {
	for _, name := range from.image.RepoTags {
		_, err := i.local(ctx, n, name)
		if err != nil && isNotFound(err) {
			err = n.client.ImageTag(ctx, from.image.ID, name)
		}
		if err != nil {
			i.pool.log.Warn("Cannot name an image as it is named elsewhere", "node", n.name, "image", name, "error", err)
		}
	}
}

// watchedReader tells of each piece that it hands on.
type watchedReader struct {
	io.Reader
	heard func()
}

func (r *watchedReader) Read(p []byte) (int, error) {
	count, err := r.Reader.Read(p)
	if count > 0 {
		r.heard()
	}
	return count, err
}
