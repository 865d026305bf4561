package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"edgespawner/fleet"
	"edgespawner/scheduler"
)

// WhatIf says what would become of the replicas, by the scheduler that places
// them. It changes nothing.
func (e *Engine) WhatIf(_ context.Context, question fleet.WhatIf) (fleet.WhatIfAnswer, error) {
	outcome, err := scheduler.WhatIf(e.picture(), question.Kill, question.Scale)
	if err != nil {
		return fleet.WhatIfAnswer{}, err
	}
	answer := fleet.WhatIfAnswer{Placed: moves(outcome.Placed), Unplaced: moves(outcome.Unplaced), Removed: moves(outcome.Removed)}
	for _, load := range outcome.After.Loads() {
		answer.Nodes = append(answer.Nodes, fleet.NodeLoad{
			Name: load.Node, Closed: load.Closed, Replicas: load.Replicas,
			CPUShares: load.CPUShares, ReservedCPUShares: load.ReservedCPUShares,
			MemoryMB: load.MemoryMB, ReservedMemoryMB: load.ReservedMemoryMB,
		})
	}
	return answer, nil
}

func moves(list []scheduler.Move) []fleet.Move {
	told := make([]fleet.Move, len(list))
	for i, m := range list {
		told[i] = fleet.Move{Service: m.Service, Replica: fleet.ReplicaName(m.Service, m.Index), From: m.From, To: m.To, Reason: m.Reason}
	}
	return told
}

// picture is the scheduler's picture of the nodes and of all that stands, or is
// promised a place, on them. The newest accepted spec of a service stands last
// among its entries, also when it has no replica.
func (e *Engine) picture() scheduler.Picture {
	picture := scheduler.Picture{Nodes: e.nodeList(), Services: e.ledger.services()}
	for _, spec := range e.othersThan("") {
		picture.Services = append(picture.Services, scheduler.Service{Demand: scheduler.DemandOf(&spec)})
	}
	return picture
}

// services tells each claim as what stands of a service, in an order that does not change.
func (l *ledger) services() []scheduler.Service {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]scheduler.Service, 0, len(l.claims))
	for c := range l.claims {
		if c.replaced {
			continue // it is about to be gone
		}
		list = append(list, scheduler.Service{Demand: c.demand, Replicas: []scheduler.Replica{{Index: c.index, Node: c.node}}})
	}
	slices.SortFunc(list, func(x, y scheduler.Service) int {
		return cmp.Or(
			strings.Compare(x.Demand.Service, y.Demand.Service),
			cmp.Compare(x.Replicas[0].Index, y.Replicas[0].Index),
			strings.Compare(x.Replicas[0].Node, y.Replicas[0].Node),
		)
	})
	return list
}
