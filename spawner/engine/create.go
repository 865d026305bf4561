package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"edgespawner/fleet"
)

// nameAttempts is how many names are tried for a container before the node is
// taken to be full of strangers.
const nameAttempts = 20

// create makes what is missing of the two containers.
func (r *replica) create(ctx context.Context) error {
	if r.look().app.id == "" {
		if err := r.engine.bringImage(ctx, r.node, r.print); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if r.look().sandbox.id == "" {
		if r.look().app.id != "" { // it can never be joined to another one
			if err := r.observe(ctx); err != nil {
				return err
			}
		}
		if err := r.createSandbox(ctx); err != nil {
			return err
		}
	}
	if r.look().app.id == "" {
		return r.createApp(ctx)
	}
	return nil
}

func (r *replica) createSandbox(ctx context.Context) error {
	if err := r.engine.ensureSandboxImage(ctx, r.node); err != nil {
		return err
	}
	r.engine.networks.use(r) // first, so that nobody takes them away as unused
	networks, err := r.engine.networks.ensure(ctx, r.node, r.print.spec.Networks)
	if err != nil {
		return err
	}
	for n := range nameAttempts {
		name := r.candidateName(n) + ".net"
		if !r.engine.names.claim(r.node, name) {
			continue
		}
		id, err := r.makeSandbox(ctx, name, networks)
		if err == nil {
			r.holdSandbox(container{id: id, name: name})
			return nil
		}
		r.engine.names.release(r.node, name)
		if !nameTaken(err) {
			return fmt.Errorf("cannot create the sandbox of %s: %w", r.name(), err)
		}
	}
	return fleet.Errorf(fleet.Conflict, "every name tried for the sandbox of %s is taken on node %s", r.name(), r.node)
}

func (r *replica) makeSandbox(ctx context.Context, name string, networks []fleet.Network) (string, error) {
	holder := r.node + "/" + name
	addresses, err := r.engine.takeAddresses(ctx, networks, holder)
	if err != nil {
		return "", err
	}
	ports, err := r.publishForEdges(ctx, networks[0], holder)
	if err != nil {
		return "", err
	}
	config := r.engine.sandboxConfig(r, name, r.attachments(networks, addresses), r.publishes())
	config.Ports = append(config.Ports, ports...)
	r.fixedAddress = len(addresses) == len(networks)
	id, err := r.engine.containers.Create(ctx, r.node, config)
	if err != nil {
		return "", errors.Join(err, r.engine.addresses.Release(context.WithoutCancel(ctx), holder))
	}
	return id, nil
}

// holdSandbox makes a sandbox this replica's: its own, or one that it shares
// with the replica which it replaces.
func (r *replica) holdSandbox(sandbox container) {
	r.mu.Lock()
	r.sandbox = sandbox
	r.address = netip.Addr{} // that of another one, if it is known
	r.mu.Unlock()
	r.engine.sandboxes.join(sandbox.id, r)
	r.engine.networks.use(r)
}

func (r *replica) createApp(ctx context.Context) error {
	for n := range nameAttempts {
		name := r.candidateName(n)
		if !r.engine.names.claim(r.node, name) {
			if r.print.spec.Direct && n == 0 {
				return &fleet.Error{Kind: fleet.Conflict, Field: fieldName, Message: fmt.Sprintf("the container name %s is in use on node %s", name, r.node)}
			}
			continue
		}
		config, err := r.engine.appConfig(r, name, r.look().sandbox.id)
		if err != nil {
			return err
		}
		id, err := r.engine.containers.Create(ctx, r.node, config)
		if err == nil {
			r.mu.Lock()
			r.app = container{id: id, name: name}
			r.startedAt, r.lifeBefore = time.Time{}, time.Time{}
			r.mu.Unlock()
			return nil
		}
		r.engine.names.release(r.node, name)
		if r.print.spec.Direct || !nameTaken(err) {
			return fmt.Errorf("cannot create %s: %w", r.name(), err)
		}
	}
	return fleet.Errorf(fleet.Conflict, "every name tried for %s is taken on node %s", r.name(), r.node)
}

// nameTaken says whether a create failed because of its name alone.
func nameTaken(err error) bool {
	var e *fleet.Error
	return errors.As(err, &e) && e.Kind == fleet.Conflict && (e.Field == "" || e.Field == fieldName)
}

// observe asks the node what has become of the two containers and puts right
// what this process believes of them.
func (r *replica) observe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	v := r.look()
	sandbox, err := r.inspect(ctx, v.sandbox.id)
	if err != nil {
		return err
	}
	app, err := r.inspect(ctx, v.app.id)
	if err != nil {
		return err
	}
	if app.ID != "" && app.SandboxID != sandbox.ID { // it can never be joined to another one
		if err := r.engine.containers.Remove(ctx, r.node, app.ID); err != nil {
			return fmt.Errorf("cannot remove %s, whose sandbox is gone: %w", r.name(), err)
		}
		app = fleet.Container{}
	}
	r.forget(ctx, v, sandbox, app)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandbox = container{id: sandbox.ID, name: sandbox.Name, running: sandbox.Status == fleet.ContainerRunning}
	if !r.fixedAddress {
		r.address = netip.Addr{} // it is the engine's to say, each time that the sandbox starts
	}
	r.app.id, r.app.name = app.ID, app.Name
	r.startedAt, r.lifeBefore = app.StartedAt, time.Time{}
	switch app.Status {
	case fleet.ContainerPaused:
		r.setStateLocked(statePaused)
	case fleet.ContainerRunning: // a life that is ending, or one that we know nothing of
		r.setStateLocked(stateStarting)
	default:
		r.setStateLocked(stateDown)
	}
	return nil
}

// forget gives back the names and addresses of containers that are gone. Those of a
// sandbox that was shared are kept until the last replica has forgotten it: by then
// another sandbox could have them.
func (r *replica) forget(ctx context.Context, before view, sandbox, app fleet.Container) {
	if sandbox.ID == "" && before.sandbox.id != "" && r.engine.sandboxes.leave(before.sandbox.id, r) {
		if err := r.engine.addresses.Release(ctx, r.node+"/"+before.sandbox.name); err != nil {
			r.log.Error("Cannot release addresses", "error", err)
		}
		r.engine.names.release(r.node, before.sandbox.name)
	}
	if app.ID == "" && before.app.id != "" {
		r.engine.names.release(r.node, before.app.name)
	}
}

// inspect returns the container; a zero one when it is not there.
func (r *replica) inspect(ctx context.Context, id string) (fleet.Container, error) {
	if id == "" {
		return fleet.Container{}, nil
	}
	c, err := r.engine.containers.Inspect(ctx, r.node, id)
	if fleet.KindOf(err) == fleet.NotFound && err != nil {
		return fleet.Container{}, nil
	}
	if err != nil {
		return fleet.Container{}, fmt.Errorf("cannot inspect %s: %w", r.name(), err)
	}
	return c, nil
}

// remove removes the app, and the sandbox unless another replica shares it.
// The address is free for others only after every edge has confirmed a document without it.
func (r *replica) remove(ctx context.Context) error {
	if err := r.down(ctx); err != nil { // as long as its grace is
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if v := r.look(); v.app.id != "" {
		if err := r.engine.containers.Remove(ctx, r.node, v.app.id); err != nil {
			return fmt.Errorf("cannot remove %s: %w", r.name(), err)
		}
		r.mu.Lock()
		r.app = container{} // its name may be another's from now on
		r.mu.Unlock()
		r.engine.names.release(r.node, v.app.name)
	}
	if v := r.look(); v.sandbox.id != "" {
		if err := r.leaveSandbox(ctx, v.sandbox); err != nil {
			return err
		}
	}
	if err := r.engine.networks.letGo(ctx, r); err != nil {
		return err
	}
	r.noteStanding()
	r.engine.ledger.release(r.place)
	r.setState(stateGone)
	return nil
}

// leaveSandbox removes the sandbox, and gives back its addresses and its name,
// unless another replica shares it.
func (r *replica) leaveSandbox(ctx context.Context, sandbox container) error {
	last := r.engine.sandboxes.leave(sandbox.id, r)
	if last {
		if err := r.engine.containers.Remove(ctx, r.node, sandbox.id); err != nil {
			return fmt.Errorf("cannot remove the sandbox of %s: %w", r.name(), err)
		}
		if err := r.engine.addresses.Release(ctx, r.node+"/"+sandbox.name); err != nil {
			return fmt.Errorf("cannot release the addresses of %s: %w", r.name(), err)
		}
	}
	r.mu.Lock()
	r.sandbox = container{}
	r.mu.Unlock()
	if last { // the name, by which addresses are held, may be another's from now on
		r.engine.names.release(r.node, sandbox.name)
	}
	return nil
}
