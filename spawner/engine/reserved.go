package engine

import "edgespawner/fleet"

// reserved returns what the replicas of each node have reserved there, asleep or
// awake, without those that wait to be removed.
func (l *ledger) reserved() map[string]fleet.Resources {
	l.mu.Lock()
	defer l.mu.Unlock()
	loads := map[string]fleet.Resources{}
	for c := range l.claims {
		if c.replaced {
			continue
		}
		load := loads[c.node]
		load.CPUShares += c.demand.CPUShares
		load.MemoryMB += c.demand.MemoryMB
		loads[c.node] = load
	}
	return loads
}
