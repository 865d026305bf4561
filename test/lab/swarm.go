package lab

import (
	"context"
)

// managers is how many nodes keep the swarm's state: with three, one may be
// lost. Two would be worse than one: then neither may be.
func (l *Lab) managers() int {
	if len(l.Nodes) < 3 {
		return 1
	}
	return 3
}

// join joins the engines to a swarm, for the networks that reach over all of them.
func (l *Lab) join(ctx context.Context) error {
	first := l.Nodes[0]
	if _, err := first.Docker(ctx, "swarm", "init", "--advertise-addr", first.Address(), "--default-addr-pool", l.overlays(), "--default-addr-pool-mask-length", "24"); err != nil {
		return err
	}
	tokens := map[string]string{}
	for _, role := range []string{"manager", "worker"} {
		token, err := first.Docker(ctx, "swarm", "join-token", "-q", role)
		if err != nil {
			return err
		}
		tokens[role] = token
	}
	for _, n := range l.Nodes[1:] { // one after another: each manager that joins changes the quorum
		role := "worker"
		if n.index < l.managers() {
			role = "manager"
		}
		if _, err := n.Docker(ctx, "swarm", "join", "--token", tokens[role], "--advertise-addr", n.Address(), first.Address()+":2377"); err != nil {
			return err
		}
	}
	return nil
}
