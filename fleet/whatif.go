package fleet

// WhatIf asks what would become of the replicas if nodes were lost and services
// had other numbers of replicas.
type WhatIf struct {
	Kill  []string       `json:"kill,omitempty"`  // names of nodes
	Scale map[string]int `json:"scale,omitempty"` // replicas by service
}

// WhatIfAnswer is what would be. Nothing has been changed for it.
type WhatIfAnswer struct {
	Placed   []Move     `json:"placed"`   // what would find a place
	Unplaced []Move     `json:"unplaced"` // what would find none, and why
	Removed  []Move     `json:"removed"`  // what would be scaled away
	Nodes    []NodeLoad `json:"nodes"`    // as they would be then
}

// Move is a replica that changes its place.
type Move struct {
	Service string `json:"service"`
	Replica string `json:"replica"`
	From    string `json:"from,omitempty"` // node; empty = it was not there before
	To      string `json:"to,omitempty"`   // node; empty = it has none then
	Reason  string `json:"reason"`
}

// Rebalance asks for moves that let replicas stand better.
type Rebalance struct {
	Plan  bool   `json:"plan,omitempty"`  // only show them
	Moves int    `json:"moves,omitempty"` // at most so many; 0 = DefaultMoves
	ID    string `json:"id,omitempty"`    // of the plan that is consented to; empty = whatever it is now
}

// RebalancePlan is moves, each with its reason, and the job that makes them.
type RebalancePlan struct {
	ID    string `json:"id"` // changes with the moves
	Moves []Move `json:"moves"`
	JobID string `json:"job_id,omitempty"` // empty = nothing is moved
}

// DefaultMoves and MaxMoves bound the moves of one rebalance.
const (
	DefaultMoves = 10
	MaxMoves     = 100
)

// NodeLoad is how full a node is.
type NodeLoad struct {
	Name              string `json:"name"`
	Closed            string `json:"closed,omitempty"` // why it takes no replicas
	Replicas          int    `json:"replicas"`
	CPUShares         int    `json:"cpu_shares,omitempty"` // 1024 = one CPU; 0 = not known
	ReservedCPUShares int    `json:"reserved_cpu_shares"`
	MemoryMB          int    `json:"memory_mb,omitempty"` // 0 = not known
	ReservedMemoryMB  int    `json:"reserved_memory_mb"`
}
