package fleet

import "net/netip"

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
