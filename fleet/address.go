package fleet

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// AddressPool is the part of a network that fixed addresses are taken from.
type AddressPool struct {
	Subnet   netip.Prefix
	Excluded netip.Prefix // what the engine gives to strangers
	Gateway  netip.Addr
}

// Lease is an address in use.
type Lease struct {
	Network string
	Address netip.Addr
	Holder  string // the name of a sandbox
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last int }

// Holds says whether a port is in the range.
func (r PortRange) Holds(port int) bool { return r.First <= port && port <= r.Last }

// MarshalText writes it as FIRST-LAST.
func (r PortRange) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d-%d", r.First, r.Last), nil
}

// UnmarshalText reads FIRST-LAST.
func (r *PortRange) UnmarshalText(text []byte) error {
	first, last, ok := strings.Cut(string(text), "-")
	var err error
	if ok {
		if r.First, err = strconv.Atoi(first); err == nil {
			r.Last, err = strconv.Atoi(last)
		}
	}
	if !ok || err != nil {
		return fmt.Errorf("%q is not of the form FIRST-LAST, such as 20000-23999", text)
	}
	return nil
}
