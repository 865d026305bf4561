package fleet

import (
	"net/netip"
	"time"
)

// Snapshot is what the data plane is told: one picture of every service, never
// changed once it is published. The edges are rendered from it and the fallback
// router reads it without a lock.
type Snapshot struct {
	Version  uint64   // grows with every change
	Services []Routed // ordered by name
}

// Routed is one service in a snapshot.
type Routed struct {
	Name     string
	Revision int   // in service
	Spec     *Spec // of that revision; never changed
	Status   Status
	Port     int // the app's port that routes lead to; 0 = the service has none
	// Endpoints are the ready replicas. None = all traffic takes the wake leg.
	Endpoints []Endpoint
	// DownSince is when the last running app ended; zero while one runs, and until
	// one serves again when the last was cut off with its network or its node. A
	// request that arrives 2 s later cannot have been in flight.
	DownSince time.Time
}

// Endpoint is a ready replica.
type Endpoint struct {
	Replica string
	Addr    netip.AddrPort
}

// Find returns the service of that name.
func (s *Snapshot) Find(name string) (*Routed, bool) {
	low, high := 0, len(s.Services)
	for low < high {
		middle := (low + high) / 2
		if s.Services[middle].Name < name {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low < len(s.Services) && s.Services[low].Name == name {
		return &s.Services[low], true
	}
	return nil, false
}

// Confirmation says what the edges made of a snapshot.
type Confirmation struct {
	Edges int      // that have applied it; 0 = no edge is known
	Lost  []string // edges that were waited for no longer; one that is gone for long is not named
}

// Plan is what a deploy would do.
type Plan struct {
	Service   string   `json:"service"`
	Revision  int      `json:"revision"`
	Unchanged bool     `json:"unchanged"`
	Steps     []Step   `json:"steps"`
	Warnings  []string `json:"warnings,omitempty"`
}

// Why says what keeps a service in the state that it is in.
type Why struct {
	Service string   `json:"service"`
	Status  Status   `json:"status"`
	Reasons []string `json:"reasons"` // the most telling first
	// LastWake and LastSleep say when and by what; empty = not since the spawner started.
	LastWake  string `json:"last_wake,omitempty"`
	LastSleep string `json:"last_sleep,omitempty"`
}
