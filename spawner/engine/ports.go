package engine

import (
	"context"
	"io"
	"time"

	"edgespawner/fleet"
)

// Containers makes and unmakes the containers of replicas. Errors of all
// methods are *fleet.Error with kind NotFound for a container (or, at Create,
// an image) that is not there, Conflict for a name that is taken or a state
// that forbids the call, and Unavailable for an engine that does not answer;
// Start answers Conflict with field "host_port" for a port that is taken.
type Containers interface {
	// Create makes a container and connects it to its networks; it is not started.
	Create(ctx context.Context, node string, config fleet.ContainerConfig) (id string, err error)
	// Start starts it. Nil does not prove that it started: an engine answers
	// nil too for one that runs already or is being stopped.
	Start(ctx context.Context, node, id string) error
	// Stop sends the stop signal, and SIGKILL after grace; it returns when the
	// container has ended. A paused one is unpaused first. Nil when it was down.
	Stop(ctx context.Context, node, id string, grace time.Duration) error
	// Remove removes it by force, with its anonymous volumes. Nil when it is not there.
	Remove(ctx context.Context, node, id string) error
	Inspect(ctx context.Context, node, id string) (fleet.Container, error)
	// List returns this fleet's containers, running or not, without times and env.
	List(ctx context.Context, node string) ([]fleet.Container, error)
}

// Freezer pauses apps. Unpausing one that is not paused, or pausing one that is, is nil.
type Freezer interface {
	Pause(ctx context.Context, node, id string) error
	Unpause(ctx context.Context, node, id string) error
}

// Images brings images to nodes.
type Images interface {
	// Ensure makes sure that ref is on the node, by the policy, and returns it.
	// NotFound when no registry and no local image has it.
	Ensure(ctx context.Context, node, ref string, policy fleet.PullPolicy) (fleet.Image, error)
	// Bring makes sure that the image is on the node, taking it from another
	// node that has it; no registry is asked. NotFound when no node has it.
	Bring(ctx context.Context, node, ref string) (fleet.Image, error)
	// Check says whether Ensure can succeed, without pulling: nil, NotFound when
	// neither the node nor the registry has it, Unavailable when it is not on the
	// node and its registry cannot be asked.
	Check(ctx context.Context, node, ref string, policy fleet.PullPolicy) error
	// Import makes an image from the tar archive of a root file system.
	Import(ctx context.Context, node, ref string, rootfs io.Reader, entrypoint []string) (fleet.Image, error)
}

// Stock tells what nodes keep beside containers.
type Stock interface {
	// Stock returns the images and the volumes of a node.
	Stock(ctx context.Context, node string) (fleet.Stock, error)
	// RemoveVolume removes a volume that this fleet has made. False when there is
	// none, or it is another's; Conflict while a container uses it.
	RemoveVolume(ctx context.Context, node, name string) (removed bool, err error)
}

// Networks makes the networks of replicas and connects others' containers to them.
type Networks interface {
	// Find returns the network of that name; NotFound when there is none.
	Find(ctx context.Context, node, name string) (fleet.Network, error)
	// Create makes it. A subnet that overlaps another is Conflict with field "subnet".
	Create(ctx context.Context, node string, config fleet.NetworkConfig) (fleet.Network, error)
	// Remove removes it; nil when it is not there, Conflict while containers use it.
	Remove(ctx context.Context, node, name string) error
	// Connect and Disconnect are nil when it is so already.
	Connect(ctx context.Context, node, network, container string) error
	Disconnect(ctx context.Context, node, network, container string) error
	// Attendants returns the running containers with role edge or spawner of this fleet.
	Attendants(ctx context.Context, node string) ([]fleet.Container, error)
}

// Watcher tells what happens on a node.
type Watcher interface {
	// Watch sends notices until ctx ends, then closes the channel. Each
	// connection begins with NoticeConnected; one that breaks sends NoticeLost
	// and is made again with back-off.
	Watch(ctx context.Context, node string) <-chan fleet.Notice
}

// Shell looks into containers.
type Shell interface {
	// Exec runs a command inside a running container until it ends or ctx does.
	Exec(ctx context.Context, node, id string, command []string) (fleet.ExecResult, error)
	// Logs sends the container's lines in order and returns at their end, or when ctx ends.
	Logs(ctx context.Context, node, id string, options fleet.LogOptions, line func(fleet.LogLine) error) error
}

// Services is the store of what should be. A method that changes more than one
// thing does so in one transaction. A name that is not there is NotFound.
type Services interface {
	// Load returns every service, by name.
	Load(ctx context.Context) ([]fleet.Desired, error)
	// AddRevision stores a new revision of its spec's service, the service
	// itself if that is new, and the job that rolls it out; it returns the
	// number given. Conflict when the service is being removed.
	AddRevision(ctx context.Context, revision fleet.Revision, job fleet.Job) (int, error)
	// Adopt stores a service that was found on the nodes, with its revision in service.
	Adopt(ctx context.Context, desired fleet.Desired, revision fleet.Revision) error
	// Save stores the desired state of a service that exists.
	Save(ctx context.Context, desired fleet.Desired) error
	// Delete removes the service with its revisions; its jobs and events stay.
	Delete(ctx context.Context, name string) error
}

// Revisions is the store of accepted specs.
type Revisions interface {
	Revision(ctx context.Context, service string, number int) (fleet.Revision, error)
	// Revisions returns them newest first.
	Revisions(ctx context.Context, service string) ([]fleet.Revision, error)
	// SetRevision records the image that a revision resolved to and its outcome.
	SetRevision(ctx context.Context, revision fleet.Revision) error
}

// Addresses is the store of the fixed addresses of sandboxes, and of the ports of
// nodes that they publish for edges, so that none is given twice, across restarts too.
type Addresses interface {
	// Take returns the address that holder has on the network, or gives it the
	// one of candidates' range that has been free for longest. Unavailable when
	// the range is used up.
	Take(ctx context.Context, network string, pool fleet.AddressPool, holder string) (fleet.Lease, error)
	// TakePort gives holder a port of the node: one that was never given, else the
	// one that has been free for longest, but none of those to avoid. Unavailable
	// when all are used up.
	TakePort(ctx context.Context, node string, ports fleet.PortRange, holder string, avoid []int) (int, error)
	// ClaimPort records that holder has that very port of the node.
	ClaimPort(ctx context.Context, node string, port int, holder string) error
	// Release gives back all addresses and ports of a holder.
	Release(ctx context.Context, holder string) error
	// Claim records that holder has that very address: one that a lost database no longer knows.
	Claim(ctx context.Context, lease fleet.Lease) error
	// Holders returns every address in use, and for each port a lease without a network.
	Holders(ctx context.Context) ([]fleet.Lease, error)
}

// Standings is the store of where replicas stand.
type Standings interface {
	List(ctx context.Context) ([]fleet.Standing, error)
	// Change stores some, in place of what is stored under their node and app, and forgets others.
	Change(ctx context.Context, put, drop []fleet.Standing) error
}

// Jobs is the store of accepted work.
type Jobs interface {
	Add(ctx context.Context, job fleet.Job) error
	// Update stores the job as it is now, its steps included.
	Update(ctx context.Context, job fleet.Job) error
	// Get returns NotFound for an unknown id.
	Get(ctx context.Context, id string) (fleet.Job, error)
	// List returns jobs newest first; service "" = all, unfinished = only those not ended.
	List(ctx context.Context, service string, unfinished bool, limit int) ([]fleet.Job, error)
}

// Events is the store of recorded facts.
type Events interface {
	// Append stores the events in order and returns them with their ids.
	Append(ctx context.Context, events []fleet.Event) ([]fleet.Event, error)
	List(ctx context.Context, filter fleet.EventFilter) ([]fleet.Event, error)
	// Bounds returns the ids of the oldest event that is kept (newest+1 = none
	// is) and of the newest that was ever stored.
	Bounds(ctx context.Context) (oldest, newest int64, err error)
}

// Nodes tells which engines there are.
type Nodes interface {
	// List returns the nodes that are to be followed, as they are stored; no engine is asked.
	List(ctx context.Context) ([]fleet.Node, error)
	// Info asks a node's engine who it is. Unavailable when it does not answer.
	Info(ctx context.Context, name string) (fleet.Node, error)
}

// Router leads public traffic to replicas.
type Router interface {
	// Check says whether the edge can route spec beside the others in service:
	// an *fleet.Error that names the field, and warnings of what was changed on the way.
	Check(spec fleet.Spec, others []fleet.Spec) (warnings []string, err error)
	// Port returns the app's port that routes lead to, given the ports that the
	// image exposes; 0 without an error when the service needs none.
	Port(spec fleet.Spec, exposed []int) (int, error)
	// Labels returns what is written on the app's container, beside the user's
	// labels, for an edge that reads the engine itself.
	Labels(spec fleet.Spec, port int) map[string]string
	// Publish hands a snapshot to the edges; it never waits.
	Publish(snapshot *fleet.Snapshot)
	// Confirmed waits until every edge has applied that version or is lost.
	// It returns an error when an edge refused it, or ctx's.
	Confirmed(ctx context.Context, version uint64) (fleet.Confirmation, error)
	// Certified waits until the edges serve a certificate for each host that is not their default one.
	Certified(ctx context.Context, hosts []string) error
}

// Traffic tells what the edges counted.
type Traffic interface {
	// LastRequest returns when a request of the service was last seen. Known is
	// false while an edge cannot be asked: then nobody may conclude idleness.
	LastRequest(service string) (at time.Time, known bool)
	// Refresh reads the counters of every edge now.
	Refresh(ctx context.Context) error
}
