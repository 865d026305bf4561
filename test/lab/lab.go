package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
)

// DefaultDir holds the labs of a machine, each in a folder of its name.
const DefaultDir = "/var/lib/spawner-lab"

// MaxNodes is how many nodes the addresses of a lab suffice for.
const MaxNodes = 20

// Options say what lab is wanted.
type Options struct {
	Name  string // 1 to 20 lower-case letters, digits and hyphens; unique on the machine
	Nodes int    // 1 to MaxNodes
	// Owned labs go with this process: when it has ended without Down, the next
	// Up of any lab on the machine removes them.
	Owned bool
	// Swarm joins the engines for overlay networks; up to three are managers.
	Swarm bool
	// LiveRestore names the nodes whose containers outlive a restart of their
	// engine. Docker refuses it in a swarm.
	LiveRestore []string
	// DiskMB gives these nodes a disk of that size, in memory; others use the
	// disk of the machine. Only such a disk can be filled.
	DiskMB map[string]int
}

// Lab is a number of engines on this machine.
type Lab struct {
	Name  string
	Dir   string // of state, logs, certificates and data roots
	Nodes []*Node

	mu    sync.Mutex // one writes the state at a time, and engines start side by side
	state *state     // a node's own part is changed by who works on that node
}

var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`)

func (o Options) validate() error {
	if !nameRule.MatchString(o.Name) {
		return fmt.Errorf("a lab is not named %q: 1 to 20 lower-case letters, digits and hyphens", o.Name)
	}
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return fmt.Errorf("a lab has 1 to %d nodes, not %d", MaxNodes, o.Nodes)
	}
	if o.Swarm && len(o.LiveRestore) > 0 {
		return errors.New("live-restore and swarm exclude each other")
	}
	var names []string
	for i := range o.Nodes {
		names = append(names, nodeName(i))
	}
	for name := range o.DiskMB {
		if !slices.Contains(names, name) {
			return fmt.Errorf("a disk is wanted for %q, which is not among %v", name, names)
		}
	}
	for _, name := range o.LiveRestore {
		if !slices.Contains(names, name) {
			return fmt.Errorf("live-restore is wanted for %q, which is not among %v", name, names)
		}
	}
	return nil
}

// Up makes a lab and returns when every engine answers. It first removes what
// is left of a former lab of that name, and of labs whose owner has ended. On
// an error nothing of the new lab is left.
func Up(ctx context.Context, options Options) (*Lab, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if err := Require(); err != nil {
		return nil, err
	}
	l, err := prepare(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.Down(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// prepare clears the place and writes down what will be made.
func prepare(ctx context.Context, options Options) (*Lab, error) {
	if err := os.MkdirAll(DefaultDir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make the folder of labs: %w", err)
	}
	unlock, err := lock(filepath.Join(DefaultDir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	octet, err := clearStale(ctx, options.Name)
	if err != nil {
		return nil, err
	}
	s := newState(options, octet)
	l := assemble(s)
	if err := os.MkdirAll(l.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make the folder of lab %s: %w", l.Name, err)
	}
	return l, l.save()
}

// Open returns a lab that is up.
func Open(name string) (*Lab, error) {
	s, err := readState(filepath.Join(DefaultDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no lab %s is up on this machine", name)
	}
	if err != nil {
		return nil, err
	}
	return assemble(s), nil
}

// assemble makes the lab that a state tells of.
func assemble(s *state) *Lab {
	l := &Lab{Name: s.Name, Dir: filepath.Join(DefaultDir, s.Name), state: s}
	for i := range s.Nodes {
		l.Nodes = append(l.Nodes, &Node{Name: nodeName(i), index: i, lab: l})
	}
	return l
}

// Node returns the node of that name.
func (l *Lab) Node(name string) (*Node, error) {
	var names []string
	for _, n := range l.Nodes {
		if n.Name == name {
			return n, nil
		}
		names = append(names, n.Name)
	}
	return nil, fmt.Errorf("lab %s has no node %q: there are %v", l.Name, name, names)
}

func (l *Lab) build(ctx context.Context) error {
	if err := l.makeCertificates(); err != nil {
		return err
	}
	if err := l.makeBridge(ctx); err != nil {
		return err
	}
	for _, n := range l.Nodes {
		if err := n.makeDisk(ctx); err != nil {
			return err
		}
		if err := n.plugIn(ctx); err != nil {
			return err
		}
	}
	if err := l.each(ctx, (*Node).StartEngine); err != nil {
		return err
	}
	if l.state.Swarm {
		return l.join(ctx)
	}
	return nil
}

// Down removes the lab: its processes, networks, disks and files. What is gone
// already is no error, so it may be called again after a failure.
func (l *Lab) Down(ctx context.Context) error {
	var failed []error
	for _, n := range l.Nodes {
		failed = append(failed, n.remove(ctx))
	}
	failed = append(failed, l.removeBridge(ctx))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("cannot take lab %s down: %w", l.Name, err)
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		return fmt.Errorf("cannot remove the files of lab %s: %w", l.Name, err)
	}
	return nil
}
