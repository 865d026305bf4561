//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page of curl's URLs has the ports that up uses where nobody says
// otherwise; here they are others. A refusal is a failure.
const readmePreamble = `set -euo pipefail
curl() { command curl --fail-with-body --connect-to ":80:127.0.0.1:%d" "$@"; }
set -x
`

func TestTheReadmeRunsAsPrinted(t *testing.T) {
	c := newClone(t, composes(t)[0])
	if printed := c.build("up"); !strings.Contains(printed, "bin/spawner sleep demo") {
		t.Errorf("up does not say what to type next:\n%s", printed)
	}
	blocks := append(shellBlocks(t, c, "README.md"), shellBlocks(t, c, "docs/operating.md")...)
	if blocks[0] != "./build_project.sh up\n" {
		t.Fatalf("README.md does not begin with up: %q", blocks[0])
	}
	output := c.run("bash", "-c", fmt.Sprintf(readmePreamble, c.port)+strings.Join(blocks[1:], "\n"))
	for _, wanted := range []string{"asleep", "connstr: changed", "Removed hello", `"unchanged":false`, `"state":"succeeded"`, "spawner_services", "hostname: minion-1", "Restored the state"} {
		if !strings.Contains(output, wanted) {
			t.Errorf("it printed no %q", wanted)
		}
	}
	if strings.Contains(output, `"state":"failed"`) {
		t.Error("a job has failed")
	}
	if t.Failed() {
		t.Log(output)
	}
}

// shellBlocks returns the blocks of a page that are marked as shell.
func shellBlocks(t *testing.T, c *clone, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, match := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, match[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no shell block", page)
	}
	return blocks
}
