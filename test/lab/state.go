package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// state is what a lab has made or is about to make. The file is written before
// the deed.
type state struct {
	Name  string      `json:"name"`
	Boot  string      `json:"boot"`            // of the machine; another one = every process is gone
	Owner *process    `json:"owner,omitempty"` // nil = whoever types `lab down`
	Octet int         `json:"octet"`           // the lab's addresses are 10.Octet.0.0/16
	Swarm bool        `json:"swarm,omitempty"`
	Nodes []nodeState `json:"nodes"`
}

type nodeState struct {
	Engine      process  `json:"engine"` // dockerd; zero = never started
	LiveRestore bool     `json:"live_restore,omitempty"`
	DiskMB      int      `json:"disk_mb,omitempty"`
	Cuts        []string `json:"cuts,omitempty"` // as Cut takes them
}

func newState(options Options, octet int) *state {
	s := &state{Name: options.Name, Boot: bootID(), Octet: octet, Swarm: options.Swarm, Nodes: make([]nodeState, options.Nodes)}
	if options.Owned {
		self := processOf(os.Getpid())
		s.Owner = &self
	}
	for i := range s.Nodes {
		s.Nodes[i].DiskMB = options.DiskMB[nodeName(i)]
		for _, name := range options.LiveRestore {
			s.Nodes[i].LiveRestore = s.Nodes[i].LiveRestore || name == nodeName(i)
		}
	}
	return s
}

// stale says whether nobody can want the lab any more.
func (s *state) stale() bool {
	return s.Boot != bootID() || s.Owner != nil && !s.Owner.alive()
}

func (l *Lab) save() error {
	text, err := json.MarshalIndent(l.state, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write the state of lab %s: %w", l.Name, err)
	}
	file := filepath.Join(l.Dir, "state.json")
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return fmt.Errorf("cannot write the state of lab %s: %w", l.Name, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("cannot write the state of lab %s: %w", l.Name, err)
	}
	return nil
}

func readState(dir string) (*state, error) {
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return nil, fmt.Errorf("cannot read the state of a lab: %w", err)
	}
	s := &state{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("cannot read the state of a lab in %s: %w", dir, err)
	}
	return s, nil
}

// clearStale removes the labs that nobody wants, refuses a name that is up, and
// returns an octet that is free.
func clearStale(ctx context.Context, name string) (int, error) {
	entries, err := os.ReadDir(DefaultDir)
	if err != nil {
		return 0, fmt.Errorf("cannot list the labs: %w", err)
	}
	taken := map[int]bool{}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		s, err := readState(filepath.Join(DefaultDir, entry.Name()))
		if errors.Is(err, os.ErrNotExist) { // it ended before it wrote anything down
			err = os.RemoveAll(filepath.Join(DefaultDir, entry.Name()))
			if err != nil {
				return 0, fmt.Errorf("cannot remove what is left of a lab: %w", err)
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		if s.stale() {
			if err := assemble(s).Down(ctx); err != nil {
				return 0, err
			}
			continue
		}
		if s.Name == name {
			return 0, fmt.Errorf("lab %s is up already, with %d nodes: take it down first", name, len(s.Nodes))
		}
		taken[s.Octet] = true
	}
	return freeOctet(taken)
}

// lock waits until no other process holds the file.
func lock(name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the labs: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot lock the labs: %w", err)
	}
	return func() { file.Close() }, nil
}

// bootID changes when the machine starts; empty where the kernel does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
