package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"

	"edgespawner/fleet"
)

// Addresses is the view of the fixed addresses of sandboxes.
type Addresses struct{ store *Store }

// Addresses returns the view of addresses.
func (s *Store) Addresses() Addresses { return Addresses{s} }

// Take returns the address that holder has on the network, or gives it one of the
// pool: one that was never given, the lowest first, else the one that has been
// free for longest. An address that the pool no longer holds is given back for
// another. It is Unavailable when the pool is used up.
func (v Addresses) Take(ctx context.Context, network string, pool fleet.AddressPool, holder string) (fleet.Lease, error) {
	lease := fleet.Lease{Network: network, Holder: holder}
	if holder == "" {
		return lease, fmt.Errorf("cannot give an address on %q to nobody", network)
	}
	held, err := v.held(ctx, network, holder)
	if err == nil && usable(pool, held) {
		lease.Address = held
		return lease, nil
	}
	if err == nil {
		err = v.store.write(ctx, synced, func(tx *sql.Tx) error {
			lease.Address, err = take(ctx, tx, network, pool, holder)
			return err
		})
	}
	return lease, failed(err, "take an address on %q for %q", network, holder)
}

// held returns the address that holder has; the zero one when it has none.
func (v Addresses) held(ctx context.Context, network, holder string) (address netip.Addr, err error) {
	var text string
	err = v.store.reader.QueryRowContext(ctx,
		"SELECT address FROM addresses WHERE holder = ? AND network = ?", holder, network).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return netip.Addr{}, nil
	}
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(text)
}

// take gives an address inside a transaction. Everything is read again: the
// holder may have taken one in the meantime.
func take(ctx context.Context, tx *sql.Tx, network string, pool fleet.AddressPool, holder string) (netip.Addr, error) {
	rows, err := query(ctx, tx, scanAddress,
		"SELECT address, holder FROM addresses WHERE network = ? ORDER BY freed", network)
	if err != nil {
		return netip.Addr{}, err
	}
	known := make(map[netip.Addr]bool, len(rows))
	var stale, longest netip.Addr
	for _, row := range rows {
		known[row.address] = true
		switch {
		case row.holder == holder && usable(pool, row.address):
			return row.address, nil
		case row.holder == holder:
			stale = row.address
		case row.holder == "" && !longest.IsValid() && usable(pool, row.address):
			longest = row.address
		}
	}
	chosen := firstUnknown(pool, known)
	if !chosen.IsValid() {
		chosen = longest
	}
	if !chosen.IsValid() {
		return chosen, fleet.Errorf(fleet.Unavailable, "no address is free on network %q (%s): remove services, or make the network again with a larger subnet", network, pool.Subnet)
	}
	if stale.IsValid() {
		if err := free(ctx, tx, "network = ? AND address = ?", network, stale.String()); err != nil {
			return netip.Addr{}, err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO addresses (network, address, holder, freed) VALUES (?, ?, ?, 0)
		ON CONFLICT (network, address) DO UPDATE SET holder = excluded.holder, freed = 0`,
		network, chosen.String(), holder)
	return chosen, err
}

// Claim records that holder has an address, which was found in use: how a lost
// database is rebuilt. It is a Conflict when somebody else has it, or the holder
// has another one on that network.
func (v Addresses) Claim(ctx context.Context, lease fleet.Lease) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO addresses (network, address, holder, freed) VALUES (?, ?, ?, 0)
			ON CONFLICT (network, address) DO UPDATE SET holder = excluded.holder, freed = 0 WHERE holder IN ('', excluded.holder)`,
			lease.Network, lease.Address.String(), lease.Holder)
		if err != nil {
			return err
		}
		if rows, err := result.RowsAffected(); err != nil || rows > 0 {
			return err
		}
		return fleet.Errorf(fleet.Conflict, "address %s on network %q belongs to another replica", lease.Address, lease.Network)
	})
	if duplicate(err) {
		return fleet.Errorf(fleet.Conflict, "%q has another address on network %q", lease.Holder, lease.Network)
	}
	return failed(err, "claim address %s on %q for %q", lease.Address, lease.Network, lease.Holder)
}

// Release gives back all addresses of a holder; nil when it has none.
func (v Addresses) Release(ctx context.Context, holder string) error {
	if holder == "" {
		return nil
	}
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		return errors.Join(free(ctx, tx, "holder = ?", holder), freePorts(ctx, tx, holder))
	})
	return failed(err, "release the addresses of %q", holder)
}

// Holders returns every address in use, by network and holder, after a lease
// without a network for each holder of ports.
func (v Addresses) Holders(ctx context.Context) ([]fleet.Lease, error) {
	leases, err := query(ctx, v.store.reader, scanLease,
		"SELECT network, address, holder FROM addresses WHERE holder <> '' ORDER BY network, holder")
	if err != nil {
		return nil, failed(err, "list the addresses")
	}
	ports, err := query(ctx, v.store.reader, scanHolder, "SELECT DISTINCT holder FROM host_ports WHERE holder <> '' ORDER BY holder")
	return append(ports, leases...), failed(err, "list the ports")
}

// free marks addresses as free since now. The order is a count, not a time: a
// clock may go backwards.
func free(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	_, err := tx.ExecContext(ctx, "UPDATE addresses SET holder = '', freed = (SELECT max(freed) + 1 FROM addresses) WHERE "+where, args...)
	return err
}

// given is an address that was given at some time.
type given struct {
	address netip.Addr
	holder  string // empty = free
}

func scanAddress(row scanner) (given, error) {
	var one given
	var text string
	err := row.Scan(&text, &one.holder)
	if err == nil {
		one.address, err = netip.ParseAddr(text)
	}
	return one, err
}

func scanLease(row scanner) (fleet.Lease, error) {
	var lease fleet.Lease
	var text string
	err := row.Scan(&lease.Network, &text, &lease.Holder)
	if err == nil {
		lease.Address, err = netip.ParseAddr(text)
	}
	return lease, err
}
