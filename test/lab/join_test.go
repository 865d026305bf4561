package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// joinScript runs a function of build/lab.sh for a lab of three engines, beside
// an installation that has the first as a node, and a node of the second's name.
const joinScript = `set -euo pipefail
note() { echo "note: $*"; }
step() { :; }
. "$0/build/lab.sh"
installation_answers() { return 0; }
as_root() { printf '%s' "$LISTED"; }
"$1"
`

// engines is what bin/lab credentials lists of that lab.
const engines = `node-1 tcp://10.9.0.11:2376 10.9.0.11 ca cert key
node-2 tcp://10.9.0.12:2376 10.9.0.12 ca cert key
node-3 tcp://10.9.0.13:2376 10.9.0.13 ca cert key
`

const stubSpawner = `#!/bin/sh
if [ "$1 $2" = "node ls" ]; then
	echo "NAME    STATE            REPLICAS  CPUS  ENGINE  ENDPOINT                     LABELS"
	echo "local   ready            0         2     28.0    unix:///var/run/docker.sock"
	echo "node-1  ready, draining  0         2     28.0    tcp://10.9.0.11:2376         lab=one"
	echo "node-2  down             0         2     28.0    tcp://10.8.0.12:2376         lab=other"
	exit
fi
echo "asked: $*"
`

// runJoin returns what the function printed, and what the spawner was asked.
func runJoin(t *testing.T, function string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "spawner"), []byte(stubSpawner), 0o700); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("bash", "-c", joinScript, root, function)
	command.Dir = dir
	command.Env = append(os.Environ(), "LISTED="+engines)
	command.Stdin = strings.NewReader(engines)
	said, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, said)
	}
	return string(said)
}

func TestANodeOfAnotherLabPassesForNoneOfThisOne(t *testing.T) {
	said := runJoin(t, "join_lab")
	for _, wanted := range []string{
		"note: node-1 is a node already",
		"note: node-2, at tcp://10.9.0.12:2376, is not made a node: another one has that name, at tcp://10.8.0.12:2376",
		"asked: node add node-3 --endpoint tcp://10.9.0.13:2376",
	} {
		if !strings.Contains(said, wanted) {
			t.Errorf("it does not say %q:\n%s", wanted, said)
		}
	}
	if strings.Contains(said, "node add node-1") || strings.Contains(said, "node add node-2") {
		t.Errorf("it adds what is there:\n%s", said)
	}
}

func TestALabThatGoesTakesNoNodeOfAnotherWithIt(t *testing.T) {
	if said := runJoin(t, "leave_lab"); said != "asked: node rm node-1 --force\n" {
		t.Errorf("got\n%s", said)
	}
}
