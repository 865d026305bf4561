package fleet

import "time"

// Node is one Docker engine that replicas are placed on.
type Node struct {
	Name     string            `json:"name"`
	Endpoint string            `json:"endpoint"` // unix://, tcp:// or ssh://
	Address  string            `json:"address,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	State    NodeState         `json:"state"`
	EngineID string            `json:"engine_id,omitempty"`
	Version  string            `json:"version,omitempty"`
	Platform string            `json:"platform,omitempty"` // such as linux/amd64
	CPUs     int               `json:"cpus,omitempty"`
	MemoryMB int64             `json:"memory_mb,omitempty"`
	Draining bool              `json:"draining,omitempty"`
	Replicas int               `json:"replicas"`
	Reserved Resources         `json:"reserved"`         // by its replicas, asleep or awake
	Used     *Resources        `json:"used,omitempty"`   // by the containers of this fleet; nil = it was not asked for, or not told
	SeenAt   time.Time         `json:"seen_at,omitzero"` // when its engine last answered; zero = not since the spawner started
	Swarm    *NodeSwarm        `json:"swarm,omitempty"`  // nil = its engine is in no swarm of Docker
	Note     string            `json:"note,omitempty"`   // why it cannot be used, gets nothing new, or is not drained
}

// SwarmWaits says why no network that reaches over all nodes can be used on the
// node yet; empty = they can, or it is in no swarm.
func (n Node) SwarmWaits() string {
	if n.Swarm == nil {
		return ""
	}
	return n.Swarm.Waits
}

// NodeSwarm is an engine's part in Docker's swarm, which is what carries
// networks over several nodes.
type NodeSwarm struct {
	ID      string `json:"id"`              // of the engine in the swarm; empty = it is only on its way in, or has not been heard of
	Manager bool   `json:"manager"`         // it can make networks that reach over all nodes
	Waits   string `json:"waits,omitempty"` // why no network that reaches over all nodes can be used there yet; empty = they can
}

// SwarmMember is an engine as a manager of its swarm sees it.
type SwarmMember struct {
	ID      string
	Manager bool
	Leader  bool
	Up      bool // it answers the managers
	Settled bool // it is what Manager says: to become it takes a moment
	Address string
}

// NodeState says whether an engine answers.
type NodeState string

// The states of a node.
const (
	NodeReady   NodeState = "ready"
	NodeUnknown NodeState = "unknown" // not asked yet
	NodeSilent  NodeState = "silent"  // the engine does not answer; what runs there has not been probed yet
	// NodeUnmanaged is a silent one whose replicas answer: they keep their routes, and nothing new is put there.
	NodeUnmanaged NodeState = "unmanaged"
	NodeSuspected NodeState = "suspected" // a silent one of which no replica answers: their routes are off
	NodeDown      NodeState = "down"      // suspected for so long that its replicas are placed elsewhere
)

// Edge is a Traefik instance as the API shows it.
type Edge struct {
	Name        string    `json:"name"`
	State       string    `json:"state"` // connected, lost, expected (has not polled since the spawner started)
	Connections int       `json:"connections"`
	Received    uint64    `json:"received"`          // newest version polled past
	Confirmed   uint64    `json:"confirmed"`         // newest version proved to be applied on every entry point
	Refused     string    `json:"refused,omitempty"` // services whose routes it refused
	Note        string    `json:"note,omitempty"`    // why Confirmed is less than a proof
	URL         string    `json:"url,omitempty"`
	SeenAt      time.Time `json:"seen_at"`
}
