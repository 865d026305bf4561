package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"edgespawner/fleet"
)

// TakePort gives holder a port of the node: one that was never given, the lowest
// first, else the one that has been free for longest, but none of those to avoid.
// It is a Conflict about port_range when that is used up.
func (v Addresses) TakePort(ctx context.Context, node string, ports fleet.PortRange, holder string, avoid []int) (int, error) {
	if holder == "" {
		return 0, fmt.Errorf("cannot give a port of node %q to nobody", node)
	}
	chosen := 0
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		rows, err := query(ctx, tx, scanHostPort, "SELECT port, holder FROM host_ports WHERE node = ? ORDER BY freed", node)
		if err != nil {
			return err
		}
		chosen = freePort(rows, ports, avoid)
		if chosen == 0 {
			return fleet.Errorf(fleet.Conflict, "no port of node %q is free in --port-range %d-%d", node, ports.First, ports.Last).About("port_range")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO host_ports (node, port, holder, freed) VALUES (?, ?, ?, 0)
			ON CONFLICT (node, port) DO UPDATE SET holder = excluded.holder, freed = 0`, node, chosen, holder)
		return err
	})
	return chosen, failed(err, "take a port of node %q for %q", node, holder)
}

// freePort chooses a port, given those that were ever given, the longest free first; 0 = none is free.
func freePort(rows []hostPort, ports fleet.PortRange, avoid []int) int {
	known := make(map[int]bool, len(rows))
	longest := 0
	for _, row := range rows {
		known[row.port] = true
		if row.holder == "" && longest == 0 && ports.Holds(row.port) && !slices.Contains(avoid, row.port) {
			longest = row.port
		}
	}
	for port := ports.First; port <= ports.Last && port > 0; port++ {
		if !known[port] && !slices.Contains(avoid, port) {
			return port
		}
	}
	return longest
}

// ClaimPort records that holder has a port of the node, which was found in use. It
// is a Conflict when somebody else has it.
func (v Addresses) ClaimPort(ctx context.Context, node string, port int, holder string) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO host_ports (node, port, holder, freed) VALUES (?, ?, ?, 0)
			ON CONFLICT (node, port) DO UPDATE SET holder = excluded.holder, freed = 0 WHERE holder IN ('', excluded.holder)`, node, port, holder)
		if err != nil {
			return err
		}
		if rows, err := result.RowsAffected(); err != nil || rows > 0 {
			return err
		}
		return fleet.Errorf(fleet.Conflict, "port %d of node %q belongs to another replica", port, node)
	})
	return failed(err, "claim port %d of node %q for %q", port, node, holder)
}

// freePorts marks a holder's ports as free since now.
func freePorts(ctx context.Context, tx *sql.Tx, holder string) error {
	_, err := tx.ExecContext(ctx, "UPDATE host_ports SET holder = '', freed = (SELECT max(freed) + 1 FROM host_ports) WHERE holder = ?", holder)
	return err
}

type hostPort struct {
	port   int
	holder string // empty = free
}

func scanHostPort(row scanner) (hostPort, error) {
	var one hostPort
	err := row.Scan(&one.port, &one.holder)
	return one, err
}

func scanHolder(row scanner) (fleet.Lease, error) {
	var lease fleet.Lease
	err := row.Scan(&lease.Holder)
	return lease, err
}
