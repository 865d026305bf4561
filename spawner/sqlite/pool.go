package sqlite

import (
	"net/netip"

	"edgespawner/fleet"
)

// usable says whether an address may be given out of a pool: not that of the
// network, of broadcast or of the gateway, nor one that strangers get.
func usable(pool fleet.AddressPool, address netip.Addr) bool {
	if !address.IsValid() || !pool.Subnet.Contains(address) || address == first(pool.Subnet) {
		return false
	}
	if pool.Excluded.IsValid() && pool.Excluded.Contains(address) {
		return false
	}
	if address.Is4() && address == last(pool.Subnet) {
		return false
	}
	gateway := pool.Gateway
	if !gateway.IsValid() { // an engine that was not told takes the first one
		gateway = first(pool.Subnet).Next()
	}
	return address != gateway
}

// firstUnknown returns the lowest usable address that is not known; the zero one
// when there is none.
func firstUnknown(pool fleet.AddressPool, known map[netip.Addr]bool) netip.Addr {
	if !pool.Subnet.IsValid() {
		return netip.Addr{}
	}
	for address := first(pool.Subnet); address.IsValid() && pool.Subnet.Contains(address); address = address.Next() {
		if pool.Excluded.IsValid() && pool.Excluded.Contains(address) {
			address = last(pool.Excluded) // over the whole range in one step
			continue
		}
		if !known[address] && usable(pool, address) {
			return address
		}
	}
	return netip.Addr{}
}

// first returns the lowest address of a prefix.
func first(prefix netip.Prefix) netip.Addr { return prefix.Masked().Addr() }

// last returns the highest address of a prefix.
func last(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Masked().Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	address, _ := netip.AddrFromSlice(bytes) // of 4 or 16 bytes
	return address
}
