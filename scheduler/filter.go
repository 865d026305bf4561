package scheduler

import (
	"net/netip"

	"edgespawner/fleet"
)

// verdict is which filter a node fails first.
type verdict uint8

const (
	fits verdict = iota
	isClosed
	wrongPlatform
	breaksConstraint
	lacksVolume
	portTaken
	shortOfCPU
	shortOfMemory
	hasPeer
	lacksLabel
	wouldSkew
)

// lasting are the filters that other replicas of the service do not change.
func (c *Cluster) lasting(a *ask, i int32) verdict {
	switch {
	case c.states[i].closed:
		return isClosed
	case a.platforms != nil && c.platforms.ids[i] != absent && !a.platforms[c.platforms.ids[i]]:
		return wrongPlatform
	}
	for _, q := range a.constraints {
		if !q.holds(i) {
			return breaksConstraint
		}
	}
	if len(a.volumes) > 0 && !a.volumesAt(i) {
		return lacksVolume
	}
	return fits
}

func (a *ask) volumesAt(i int32) bool {
	for _, where := range a.volumes {
		if where != nil && !where.has(i) {
			return false
		}
	}
	return !a.mates || a.standing[i] > 0
}

// room are the filters of what a node has left.
func (c *Cluster) room(a *ask, i int32) verdict {
	for _, port := range a.ports {
		if c.holderOf(i, port, a.demand.Service) != nil {
			return portTaken
		}
	}
	switch s := &c.states[i]; {
	case s.freeCPU < int64(a.demand.CPUShares) && a.demand.CPUShares > 0:
		return shortOfCPU
	case s.freeMemory < int64(a.demand.MemoryMB) && a.demand.MemoryMB > 0:
		return shortOfMemory
	}
	return fits
}

// among are the filters that the other replicas of the service make.
func (a *ask) among(i int32) verdict {
	if r := a.apart; r != nil {
		switch value := r.column.ids[i]; {
		case value == absent:
			return lacksLabel
		case r.counts[value] > 0:
			return hasPeer
		}
	}
	for s := range a.spreads {
		r := &a.spreads[s]
		if r.skew == 0 {
			continue
		}
		switch value := r.column.ids[i]; {
		case value == absent:
			return lacksLabel
		case r.counts[value]+1-r.floor > r.skew:
			return wouldSkew
		}
	}
	return fits
}

// judge returns the first filter that a node fails.
func (c *Cluster) judge(a *ask, i int32) verdict {
	if v := c.lasting(a, i); v != fits {
		return v
	}
	if v := c.room(a, i); v != fits {
		return v
	}
	return a.among(i)
}

// holderOf returns who else holds a host port of a node; nil = nobody.
func (c *Cluster) holderOf(i int32, port fleet.Port, service string) *heldPort {
	for h := range c.ports[i] {
		held := &c.ports[i][h]
		if (held.service == "" || held.service != service) && excludes(held.port, port) {
			return held
		}
	}
	return nil
}

// excludes says whether two host ports cannot both be had on one node.
func excludes(x, y fleet.Port) bool {
	if x.HostPort != y.HostPort || (x.Protocol == "udp") != (y.Protocol == "udp") {
		return false
	}
	mine, theirs := hostAddress(x), hostAddress(y)
	return mine == theirs || mine.IsUnspecified() || theirs.IsUnspecified()
}

// hostAddress is where a port is published; unspecified for all addresses.
func hostAddress(p fleet.Port) netip.Addr {
	address, err := netip.ParseAddr(p.HostIP)
	if err != nil {
		return netip.IPv4Unspecified()
	}
	return address.Unmap()
}
