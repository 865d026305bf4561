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
	CPUs     int               `json:"cpus,omitempty"`
	MemoryMB int64             `json:"memory_mb,omitempty"`
	Draining bool              `json:"draining,omitempty"`
	Replicas int               `json:"replicas"`
	SeenAt   time.Time         `json:"seen_at,omitzero"`
}

// NodeState says whether an engine answers.
type NodeState string

// The states of a node.
const (
	NodeReady   NodeState = "ready"
	NodeUnknown NodeState = "unknown" // not asked yet
	NodeSilent  NodeState = "silent"  // the engine does not answer
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
