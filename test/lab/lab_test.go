package lab

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestALabThatCannotBeIsRefusedByWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		options Options
		said    string
	}{
		{Options{Name: "", Nodes: 1}, `a lab is not named ""`},
		{Options{Name: "UPPER", Nodes: 1}, "lower-case"},
		{Options{Name: "../up", Nodes: 1}, "lower-case"},
		{Options{Name: strings.Repeat("x", 21), Nodes: 1}, "1 to 20"},
		{Options{Name: "x", Nodes: 0}, "1 to 20 nodes, not 0"},
		{Options{Name: "x", Nodes: MaxNodes + 1}, "not 21"},
		{Options{Name: "x", Nodes: 1, Swarm: true, LiveRestore: []string{"node-1"}}, "exclude each other"},
		{Options{Name: "x", Nodes: 1, LiveRestore: []string{"node-2"}}, `"node-2"`},
		{Options{Name: "x", Nodes: 1, DiskMB: map[string]int{"node-0": 10}}, `"node-0"`},
	} {
		err := c.options.validate()
		if err == nil || !strings.Contains(err.Error(), c.said) {
			t.Errorf("%+v: got %v, want an error that says %q", c.options, err, c.said)
		}
	}
	if err := (Options{Name: "lab-2", Nodes: MaxNodes, Swarm: true, DiskMB: map[string]int{"node-20": 10}}).validate(); err != nil {
		t.Errorf("a good lab is refused: %v", err)
	}
}

func TestAProcessIsKnownByItsStartToo(t *testing.T) {
	self := processOf(os.Getpid())
	if !self.alive() || self.frozen() {
		t.Errorf("this process is taken for dead or frozen: %+v", self)
	}
	another := self
	another.Started++
	if another.alive() {
		t.Errorf("a process of the same number that started at another time is taken for this one")
	}
	if (process{}).alive() {
		t.Errorf("no process at all is taken for alive")
	}
}

func TestAPidFileGoesOnlyWithItsProcess(t *testing.T) {
	file := t.TempDir() + "/engine.pid"
	sleeper := exec.Command("sleep", "60")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(sleeper.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeStale(file); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the pid file of a living process is gone: %v", err)
	}
	if err := sleeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sleeper.Wait() // it was killed
	if err := removeStale(file); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the pid file of a process that is gone is still there (%v)", err)
	}
}

func TestLabsSideBySideHaveAddressesAndLinksOfTheirOwn(t *testing.T) {
	one := assemble(newState(Options{Name: "one", Nodes: 2}, 201))
	two := assemble(newState(Options{Name: "two", Nodes: 2}, 202))
	seen := map[string]bool{}
	for _, l := range []*Lab{one, two} {
		for _, n := range l.Nodes {
			for _, name := range []string{n.Address(), n.cable(), n.Namespace(), n.controlGroup(), n.dir()} {
				if seen[name] {
					t.Errorf("%s is used twice", name)
				}
				seen[name] = true
			}
			if len(n.cable()) > 15 {
				t.Errorf("the kernel takes no link named %s", n.cable())
			}
		}
	}
}
