package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"edgespawner/fleet"
)

// The rhythm of the lease. AcquireLease is called again each LeaseRefresh. While
// an engine answers nobody, nobody can take the lease there; a holder that alone
// could not reach it for LeaseTTL may have lost it, and its next call tells.
const (
	LeaseRefresh = 2 * time.Second
	LeaseTTL     = 10 * time.Second

	leaseTimeout = 5 * time.Second        // of one call
	leaseGap     = 3 * LeaseRefresh       // longest pause between two looks that still counts as watching
	leaseImage   = "spawner-lease:latest" // an image that cannot run; made where it is missing
	labelOwner   = "spawner.owner"
)

// leaseState is what this process knows of a node's lease.
type leaseState struct {
	mu      sync.Mutex
	id      string       // the lease that this process holds or held last
	beats   map[int]bool // beats that may stand there by our own hand: the last one, and those of unknown outcome
	watched lookAt       // someone else's lease
	since   time.Time    // when watched began to look as it does
	last    time.Time    // the newest look
}

// lookAt is what a standby sees of someone's lease.
type lookAt struct {
	id   string
	beat int
}

// AcquireLease takes or refreshes the lease of this fleet on a node's engine
// for owner, and says who has it. It is to be called again every LeaseRefresh,
// by the holder and by those who stand by.
//
// The lease is a container of a fixed name, never started, with its owner on a
// label. To create it is atomic: a name can be had once. Its heartbeat is a
// number in its configuration (the retry count of its restart policy, which
// means nothing to a container that never runs), changed at each refresh. One
// that stands by measures with its own clock how long the beat has been the
// same, and counts only time in which it could look; nobody's clock is compared
// with another's, and an engine that was away makes no lease stale. After
// LeaseTTL it removes the lease by its id, which succeeds for one alone, and
// creates its own; a holder that was only slow finds its id gone and knows.
//
// Owner is the installation and outlives a restart of the spawner: a lease of
// the same owner is taken over at once. A predecessor that still lives finds a
// beat that it did not write, and stands by from then on.
func (p *Pool) AcquireLease(ctx context.Context, nodeName, owner string) (held bool, holder string, err error) {
	if owner == "" {
		return false, "", fleet.InvalidField("owner", "a lease needs an owner")
	}
	err = p.askWithin(ctx, leaseTimeout, nodeName, "acquire the lease", func(ctx context.Context, n *node) error {
		n.lease.mu.Lock()
		defer n.lease.mu.Unlock()
		const attempts = 3 // each is lost only to someone who has just taken it
		for range attempts {
			var again bool
			if held, holder, again, err = p.tryLease(ctx, n, owner); err != nil {
				n.lease.forgetWatch()
				return err
			}
			if !again {
				return nil
			}
		}
		return nil
	})
	return held && err == nil, holder, err
}

// tryLease makes one attempt; again says that the lease changed under it.
func (p *Pool) tryLease(ctx context.Context, n *node, owner string) (held bool, holder string, again bool, err error) {
	found, err := n.client.ContainerInspect(ctx, p.leaseName())
	if isNotFound(err) {
		held, err = p.createLease(ctx, n, owner)
		return held, owner, !held && err == nil, err
	}
	if err != nil {
		return false, "", false, err
	}
	if found.Config == nil || found.Config.Labels[fleet.LabelFleet] != p.fleetID || found.HostConfig == nil {
		return false, "", false, fleet.Errorf(fleet.Conflict, "container %s on node %s is not this fleet's lease", p.leaseName(), n.name)
	}
	s := &n.lease
	holder = found.Config.Labels[labelOwner]
	look := lookAt{id: found.ID, beat: found.HostConfig.RestartPolicy.MaximumRetryCount}
	ours := s.id == look.id && s.beats[look.beat]
	inherited := holder == owner && s.id == "" && s.watched.id == "" // we have just begun
	if ours || inherited {
		err := beat(ctx, n, look)
		if err != nil && strings.Contains(err.Error(), "marked for removal") {
			err = waitRemoved(ctx, n, look.id, err)
			return false, holder, err == nil, err
		}
		if isNotFound(err) {
			return false, holder, true, nil
		}
		return err == nil, owner, false, err
	}
	if !s.stale(look, time.Now()) {
		return false, holder, false, nil
	}
	p.log.Warn("Taking over the lease of a spawner that is gone", "node", n.name, "owner", holder)
	if err := remove(ctx, n, look.id); err != nil {
		return false, holder, false, err
	}
	held, err = p.createLease(ctx, n, owner)
	return held, owner, !held && err == nil, err
}

// stale notes a look at someone else's lease and says whether its holder has
// been still for too long.
func (s *leaseState) stale(look lookAt, now time.Time) bool {
	if look != s.watched || now.Sub(s.last) > leaseGap {
		s.watched, s.since = look, now
	}
	s.last = now
	return now.Sub(s.since) >= LeaseTTL
}

// forgetWatch begins the watch anew: while nobody could look, nobody could beat.
func (s *leaseState) forgetWatch() { s.since, s.last = time.Time{}, time.Time{} }

// beat changes the number of a lease that is ours, and remembers it even when
// the outcome is unknown.
func beat(ctx context.Context, n *node, at lookAt) error {
	s := &n.lease
	if s.id != at.id {
		s.id, s.beats = at.id, map[int]bool{}
	}
	next := newBeat()
	for next == at.beat {
		next = newBeat()
	}
	s.beats[at.beat], s.beats[next] = true, true
	_, err := n.client.ContainerUpdate(ctx, at.id, container.UpdateConfig{
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyOnFailure, MaximumRetryCount: next},
	})
	if err == nil {
		delete(s.beats, at.beat)
	}
	return err
}

// newBeat fits the engine's int on any machine.
func newBeat() int { return 1 + rand.IntN(1<<31-2) }

// createLease creates the lease; false without an error when another was faster.
func (p *Pool) createLease(ctx context.Context, n *node, owner string) (bool, error) {
	first := newBeat()
	body := &container.Config{
		Image: leaseImage, Cmd: []string{"/lease"},
		Labels: p.owned(map[string]string{fleet.LabelRole: string(fleet.RoleLease), labelOwner: owner}),
	}
	host := &container.HostConfig{
		NetworkMode:   "none",
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyOnFailure, MaximumRetryCount: first},
	}
	create := func() (container.CreateResponse, error) {
		return n.client.ContainerCreate(ctx, body, host, &network.NetworkingConfig{}, nil, p.leaseName())
	}
	created, err := create()
	if isNotFound(err) {
		if err := p.importLeaseImage(ctx, n); err != nil {
			return false, err
		}
		created, err = create()
	}
	if cerrdefs.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n.lease.id, n.lease.beats = created.ID, map[int]bool{first: true}
	return true, nil
}

// ReleaseLease gives the lease back, if this process holds it: the next
// spawner need not wait for it to grow stale.
func (p *Pool) ReleaseLease(ctx context.Context, nodeName string) error {
	return p.askWithin(ctx, leaseTimeout, nodeName, "release the lease", func(ctx context.Context, n *node) error {
		n.lease.mu.Lock()
		defer n.lease.mu.Unlock()
		if n.lease.id == "" {
			return nil
		}
		found, err := n.client.ContainerInspect(ctx, n.lease.id)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if found.HostConfig == nil || !n.lease.beats[found.HostConfig.RestartPolicy.MaximumRetryCount] {
			return nil // a successor of ours has it
		}
		if err := remove(ctx, n, n.lease.id); err != nil {
			return err
		}
		n.lease.id, n.lease.beats = "", nil
		return nil
	})
}

func (p *Pool) leaseName() string { return "spawner-lease-" + p.fleetID }

// importLeaseImage makes the image of leases: a root file system that holds one
// line of explanation.
func (p *Pool) importLeaseImage(ctx context.Context, n *node) error {
	const text = "This container is never started. It marks which spawner looks after this engine.\n"
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := w.WriteHeader(&tar.Header{Name: "README", Mode: 0o444, Size: int64(len(text)), Format: tar.FormatUSTAR})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("cannot make the image of leases: %w", err)
	}
	_, err = p.Images().imported(ctx, n, leaseImage, &archive, nil)
	return err
}
