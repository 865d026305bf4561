package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"time"
)

// connection has the JSON shape of fleet.Connection.
type connection struct {
	Local    netip.AddrPort `json:"local"`
	Remote   netip.AddrPort `json:"remote"`
	LastRecv string         `json:"last_recv"` // since data last came in, as a Go duration
	Inbound  bool           `json:"inbound"`   // from another host to a port that is listened on
	BytesIn  uint64         `json:"bytes_in"`
	BytesOut uint64         `json:"bytes_out"`
}

// halfClosedUse is how recently data must have been sent to a client that has
// closed its own half for the connection still to be one in use.
const halfClosedUse = 10 * time.Second

// printConnections writes the connections of this network namespace as a JSON
// array, [] when there is none.
func printConnections(w io.Writer) error {
	var sockets []socket
	for _, family := range []uint8{syscall.AF_INET, syscall.AF_INET6} {
		found, err := dumpSockets(family)
		if err != nil {
			return fmt.Errorf("cannot list the sockets of family %d: %w", family, err)
		}
		sockets = append(sockets, found...)
	}
	return json.NewEncoder(w).Encode(connections(sockets))
}

// connections tells the connections in use among sockets. Inbound is one whose
// local port is listened on and whose other end is elsewhere: an app's talk
// with itself, over loopback or its own address, is nobody's use of it.
func connections(sockets []socket) []connection {
	listened := make(map[uint16]bool)
	for _, s := range sockets {
		if s.state == stateListen {
			listened[s.local.Port()] = true
		}
	}
	list := []connection{}
	for _, s := range sockets {
		if !s.inUse() {
			continue
		}
		inside := s.remote.Addr().IsLoopback() || s.remote.Addr() == s.local.Addr()
		list = append(list, connection{
			Local:    s.local,
			Remote:   s.remote,
			LastRecv: s.lastRecv.String(),
			Inbound:  listened[s.local.Port()] && !inside,
			BytesIn:  s.bytesIn,
			BytesOut: s.bytesOut,
		})
	}
	return list
}

// inUse says whether the socket is an established connection, or one whose
// client has said all it has to say and is still being answered.
func (s socket) inUse() bool {
	switch s.state {
	case stateEstablished:
		return true
	case stateCloseWait:
		return s.unsent > 0 || s.lastSent < halfClosedUse
	default:
		return false
	}
}
