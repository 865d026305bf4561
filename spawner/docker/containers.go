package docker

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"edgespawner/fleet"
)

// The bounds of the calls that outlive their callers.
const (
	stopMargin    = 30 * time.Second // beyond the grace
	removeTimeout = 60 * time.Second
	lookTimeout   = 5 * time.Second // at what has become of a call that timed out
)

// Containers makes and unmakes containers.
type Containers struct{ pool *Pool }

// Containers returns the view of the pool that makes and unmakes containers.
func (p *Pool) Containers() *Containers { return &Containers{p} }

// Create makes a container with this fleet's labels and connects it to its
// networks; it is not started. One that could not be connected is removed again.
func (c *Containers) Create(ctx context.Context, nodeName string, config fleet.ContainerConfig) (string, error) {
	var id string
	err := c.pool.ask(ctx, nodeName, "create container "+config.Name, func(ctx context.Context, n *node) error {
		if err := c.pool.checkNetworks(ctx, n, config.Networks); err != nil {
			return err
		}
		body, host, networking := c.pool.createRequest(config)
		created, err := n.client.ContainerCreate(ctx, body, host, networking, nil, config.Name)
		if err != nil {
			return err
		}
		if err := connectRest(ctx, n, created.ID, config.Networks); err != nil {
			c.discard(ctx, n, created.ID)
			return err
		}
		id = created.ID
		return nil
	})
	return id, err
}

// checkNetworks says which network is not there. An engine creates on and
// connects to one that is not there without a word, and fails at the start.
func (p *Pool) checkNetworks(ctx context.Context, n *node, networks []fleet.Attachment) error {
	for _, attachment := range networks {
		_, err := p.reachableNetwork(ctx, n, attachment.Network)
		if fleet.KindOf(err) == fleet.NotFound {
			return fail(err, fleet.NotFound, "networks", "there is no network %s on node %s", attachment.Network, n.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// connectRest connects a created container to all networks but the first,
// which it was created with: engines before 25 take only one at create.
func connectRest(ctx context.Context, n *node, id string, networks []fleet.Attachment) error {
	for i, attachment := range networks {
		if i == 0 {
			continue
		}
		if err := n.client.NetworkConnect(ctx, attachment.Network, id, endpointSettings(attachment, -i)); err != nil {
			return err
		}
	}
	return nil
}

// discard removes a container that is of no use, even when the caller has left.
func (c *Containers) discard(ctx context.Context, n *node, id string) {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	if err := n.client.ContainerRemove(own, id, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !isNotFound(err) {
		c.pool.log.Warn("Cannot remove a container that could not be connected", "node", n.name, "container", id, "error", err)
	}
}

// Start starts a container. Nil does not prove that it started. When the
// engine does not answer in time, the container itself is looked at.
func (c *Containers) Start(ctx context.Context, nodeName, id string) (err error) {
	defer c.pool.observed(nodeName, "start container", time.Now(), &err)
	n, err := c.pool.engine(ctx, nodeName)
	if err != nil {
		return err
	}
	verb := "start container " + short(id)
	called := time.Now()
	return translate(ctx, n, verb, c.pool.detach(ctx, c.pool.bounds.start, func(own context.Context) error {
		err := n.client.ContainerStart(own, id, container.StartOptions{})
		switch {
		case err == nil:
			return nil
		case own.Err() != nil:
			return c.outcome(n, id, err, func(state *container.State) bool {
				return state.Running && !parseTime(state.StartedAt).Before(called)
			})
		case isNotFound(err) && !strings.Contains(err.Error(), id) && strings.Contains(strings.ToLower(err.Error()), "no such container"):
			return fail(err, fleet.NotFound, "sandbox", "cannot %s on node %s: the sandbox that it joined is gone: %s", verb, n.name, engineMessage(err))
		}
		translated := translate(own, n, verb, err)
		if fieldOf(translated) == fieldHostPort {
			return c.explainHostPort(own, n, id, err)
		}
		return translated
	}))
}

// outcome looks at a container after a call whose time was up: nil when its
// state is the wanted one, else the call's error.
func (c *Containers) outcome(n *node, id string, failed error, wanted func(*container.State) bool) error {
	ctx, cancel := context.WithTimeout(c.pool.ctx, lookTimeout)
	defer cancel()
	found, err := n.client.ContainerInspect(ctx, id)
	if err == nil && found.State != nil && wanted(found.State) {
		return nil
	}
	return failed
}

// Stop stops a container and returns when it has ended. A paused one is
// unpaused first: it would not see the stop signal.
func (c *Containers) Stop(ctx context.Context, nodeName, id string, grace time.Duration) (err error) {
	defer c.pool.observed(nodeName, "stop container", time.Now(), &err)
	n, err := c.pool.engine(ctx, nodeName)
	if err != nil {
		return err
	}
	seconds := int(math.Ceil(max(grace, 0).Seconds()))
	bound := time.Duration(seconds)*time.Second + stopMargin
	verb := "stop container " + short(id)
	return translate(ctx, n, verb, c.pool.detach(ctx, bound, func(own context.Context) error {
		err := stop(own, n, id, seconds)
		if err != nil && own.Err() != nil {
			err = c.outcome(n, id, err, func(state *container.State) bool { return !state.Running })
		}
		return translate(own, n, verb, err)
	}))
}

func stop(ctx context.Context, n *node, id string, seconds int) error {
	found, err := n.client.ContainerInspect(ctx, id)
	if err != nil {
		return err
	}
	if found.State != nil && found.State.Paused {
		if err := n.client.ContainerUnpause(ctx, id); err != nil && !notPaused(err) {
			return err
		}
	}
	return n.client.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds})
}

// Remove removes a container by force, with its anonymous volumes. Nil when it
// is not there; a removal under way is waited for.
func (c *Containers) Remove(ctx context.Context, nodeName, id string) (err error) {
	defer c.pool.observed(nodeName, "remove container", time.Now(), &err)
	n, err := c.pool.engine(ctx, nodeName)
	if err != nil {
		return err
	}
	verb := "remove container " + short(id)
	return translate(ctx, n, verb, c.pool.detach(ctx, removeTimeout, func(own context.Context) error {
		return translate(own, n, verb, remove(own, n, id))
	}))
}

func remove(ctx context.Context, n *node, id string) error {
	err := n.client.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	switch {
	case err == nil || isNotFound(err):
		return nil
	case strings.Contains(err.Error(), "is already in progress"):
		return waitRemoved(ctx, n, id, err)
	default:
		return err
	}
}

// waitRemoved waits for a removal that someone else has begun.
func waitRemoved(ctx context.Context, n *node, id string, conflict error) error {
	ended, failed := n.client.ContainerWait(ctx, id, container.WaitConditionRemoved)
	select {
	case <-ended:
		return nil
	case err := <-failed:
		if isNotFound(err) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return conflict
	}
}

// Inspect returns a container with its times and its env.
func (c *Containers) Inspect(ctx context.Context, nodeName, id string) (fleet.Container, error) {
	var found fleet.Container
	err := c.pool.ask(ctx, nodeName, "inspect container "+short(id), func(ctx context.Context, n *node) error {
		answer, err := n.client.ContainerInspect(ctx, id)
		if err != nil {
			return err
		}
		found = inspected(n.name, answer)
		return nil
	})
	return found, err
}

// List returns this fleet's sandboxes and apps, running or not, without times
// and env. The lease is the pool's own and is not told.
func (c *Containers) List(ctx context.Context, nodeName string) ([]fleet.Container, error) {
	var list []fleet.Container
	err := c.pool.askWithin(ctx, infoTimeout, nodeName, "list containers", func(ctx context.Context, n *node) error {
		answer, err := n.client.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(c.pool.ours())})
		if err != nil {
			return err
		}
		for _, summary := range answer {
			if summary.Labels[fleet.LabelRole] != string(fleet.RoleLease) {
				list = append(list, listed(n.name, summary))
			}
		}
		return nil
	})
	return list, err
}

// ours is the filter for what this fleet owns.
func (p *Pool) ours() filters.KeyValuePair {
	return filters.Arg("label", fleet.LabelFleet+"="+p.fleetID)
}

// owned returns the labels with those that say whose it is.
func (p *Pool) owned(labels map[string]string) map[string]string {
	all := make(map[string]string, len(labels)+2)
	for key, value := range labels {
		all[key] = value
	}
	all[fleet.LabelOrigin] = fleet.OriginSpawner
	all[fleet.LabelFleet] = p.fleetID
	return all
}

// endpointSettings is how a container takes part in a network. Engines from 28
// on give the default route to the highest priority; older ones to the first name.
func endpointSettings(a fleet.Attachment, priority int) *network.EndpointSettings {
	settings := &network.EndpointSettings{Aliases: a.Aliases, GwPriority: priority}
	if a.Address.IsValid() {
		settings.IPAMConfig = &network.EndpointIPAMConfig{}
		if a.Address.Is4() {
			settings.IPAMConfig.IPv4Address = a.Address.String()
		} else {
			settings.IPAMConfig.IPv6Address = a.Address.String()
		}
	}
	return settings
}

// short is an id as people read it; a name stays whole.
func short(id string) string {
	const hexID, shown = 64, 12
	if len(id) == hexID {
		return id[:shown]
	}
	return fmt.Sprintf("%q", id)
}
