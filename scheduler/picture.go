package scheduler

import (
	"edgespawner/fleet"
)

// Picture is a cluster as it is: nodes, and what stands on them. Their order
// does not matter.
type Picture struct {
	Nodes    []Node
	Services []Service
}

// Node is one engine with what can be had there.
type Node struct {
	Name      string
	Labels    map[string]string
	Platform  string           // such as linux/amd64; empty = not known: it takes every image
	CPUShares int              // 1024 = one CPU; 0 = not known: never short of it
	MemoryMB  int              // MiB; 0 = not known: never short of it
	Closed    string           // why it takes no replicas, such as draining; empty = it does
	Images    []string         // references or ids that are there
	Volumes   []string         // names
	Ports     []fleet.HeldPort // host ports in use by what is not among the services
}

// Service is what stands of a service. One whose replicas do not all ask for
// the same, such as during a rollout, may be there several times.
type Service struct {
	Demand   Demand
	Replicas []Replica
}

// Replica is one replica where it stands.
type Replica struct {
	Index  int
	Node   string
	Pinned bool // a rebalance leaves it where it is
}

// Demand is what each replica of a service asks of a node.
type Demand struct {
	Service   string
	CPUShares int // 1024 = one CPU; 0 = none
	MemoryMB  int // MiB; 0 = none
	Placement fleet.Placement
	Ports     []fleet.Port // those without a host port do not matter
	Volumes   []fleet.Volume
	Image     string   // reference or id
	Platforms []string // that the image is made for; none = not known

	// Replaces is the node of a replica that goes when the new one is ready: it
	// keeps its room until then, but does not count for spread and anti-affinity.
	Replaces string
}

// DemandOf returns what the replicas of a spec ask for.
func DemandOf(spec *fleet.Spec) Demand {
	return Demand{
		Service: spec.Name, CPUShares: spec.Resources.CPUShares, MemoryMB: spec.Resources.MemoryMB,
		Placement: spec.Placement, Ports: spec.Ports, Volumes: spec.Volumes, Image: spec.Image,
	}
}

// pinnedByVolumes says whether the replicas of a service all are where its volumes are.
func (d *Demand) pinnedByVolumes() bool {
	for _, volume := range d.Volumes {
		if !volume.ReadOnly {
			return true
		}
	}
	return false
}

// packs says whether the replicas seek full nodes.
func (d *Demand) packs() bool { return d.Placement.Strategy == fleet.StrategyBinpack }
