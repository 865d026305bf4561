package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"edgespawner/fleet"
)

func TestAWrongCommandLineIsSaidAndEndsWithTwo(t *testing.T) {
	for args, want := range map[string]string{
		"depoly":                       "spawner: there is no command \"depoly\"; did you mean \"deploy\"?\nSee 'spawner --help'.\n",
		"inspect":                      "spawner: NAME is missing\nSee 'spawner inspect --help'.\n",
		"inspect a b":                  "spawner: \"b\" is one argument too many\nSee 'spawner inspect --help'.\n",
		"ps --all":                     "spawner: unknown flag: --all\nSee 'spawner ps --help'.\n",
		"ps -o xml":                    "spawner: invalid argument \"xml\" for \"-o, --output\" flag: the form is table or json, not \"xml\"\nSee 'spawner ps --help'.\n",
		"wake":                         "spawner: NAME is missing\nSee 'spawner wake --help'.\n",
		"scale api":                    "spawner: api: --replicas is missing\nSee 'spawner scale --help'.\n",
		"scale api=many":               "spawner: api=many: \"many\" is not a number of replicas\nSee 'spawner scale --help'.\n",
		"scale api=1 api=2":            "spawner: api stands twice\nSee 'spawner scale --help'.\n",
		"scale api=1 --replicas 2":     "spawner: api=1 is given together with --replicas\nSee 'spawner scale --help'.\n",
		"rollback api --to 0":          "spawner: --to: revisions are numbered from 1, not 0\nSee 'spawner rollback --help'.\n",
		"deploy":                       "spawner: --name or -f is missing\nSee 'spawner deploy --help'.\n",
		"deploy api":                   "spawner: \"api\": the words of a command stand after --, and a service is named by --name\nSee 'spawner deploy --help'.\n",
		"node lst":                     "spawner: there is no command \"lst\"; did you mean \"ls\"?\nSee 'spawner node --help'.\n",
		"jobs j1":                      "spawner: there is no command \"j1\"\nSee 'spawner jobs --help'.\n",
		"logs api --tail some":         "spawner: --tail: \"some\" is neither a number of lines nor all\nSee 'spawner logs --help'.\n",
		"serve now":                    "spawner: \"now\" is one argument too many\nSee 'spawner serve --help'.\n",
		"completion csh":               "spawner: \"csh\" is none of [bash zsh fish powershell]\nSee 'spawner completion --help'.\n",
		"events a --service b --limit": "spawner: flag needs an argument: --limit\nSee 'spawner events --help'.\n",
	} {
		got := run(t, "", "", nil, strings.Fields(args)...)
		if got.code != exitUsage || got.err != want || got.out != "" {
			t.Errorf("%s: got %+v, want %q", args, got, want)
		}
	}
}

func TestTheOlderToolsFlagsMeanServe(t *testing.T) {
	root := (&app{}).root()
	for args, want := range map[string]string{
		"serve -use-path-routing=true":                "serve --use-path-routing=true",
		"-use-path-routing=true -container-prefix /x": "serve --use-path-routing=true --container-prefix /x",
		"--use-path-routing --port 9":                 "serve --use-path-routing --port 9",
		"--port 9 ps":                                 "--port 9 ps",
		"ps -o json":                                  "ps -o json",
		"--host http://127.0.0.1:1 ps":                "--host http://127.0.0.1:1 ps",
		"deploy --name a -- -use-path-routing=true":   "deploy --name a -- -use-path-routing=true",
		"--help": "--help",
		"serve --log-format json -- -use-path-routing": "serve --log-format json -- -use-path-routing",
	} {
		if diff := cmp.Diff(want, strings.Join(spell(root, strings.Fields(args)), " ")); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

func TestServeReportsAllMistakesOfItsConfiguration(t *testing.T) {
	got := run(t, "", "", []string{"SPAWNER_HTTP_PORT", "eighty", "SPAWNER_MAX_HELD", "0"}, "serve", "-cookie-key=a b", "--log-format=xml")
	for _, want := range []string{"spawner: --http-port (SPAWNER_HTTP_PORT): ", "spawner: --max-held: ", "spawner: --cookie-key: ", "spawner: --log-format: "} {
		if !strings.Contains(got.err, want) {
			t.Errorf("%q is not in\n%s", want, got.err)
		}
	}
	if got.code != exitUsage {
		t.Errorf("got code %d", got.code)
	}
}

func TestAHelpEndsWithZero(t *testing.T) {
	for _, args := range []string{"", "--help", "node", "token", "deploy --help", "version", "--version", "completion bash", "docs"} {
		if got := run(t, "", "", nil, strings.Fields(args)...); got.code != 0 || got.out == "" || got.err != "" {
			t.Errorf("%q: got code %d, %s", args, got.code, got.err)
		}
	}
}

func TestAShellIsOfferedTheNamesOfServices(t *testing.T) {
	stub := newSpawner(t, map[string]any{"GET /api/services": []fleet.Service{{Name: "api", Status: fleet.StatusAsleep}, {Name: "db", Status: fleet.StatusRunning}}})
	if got := stub.ask(t, cobra.ShellCompRequestCmd, "wake", ""); !strings.HasPrefix(got.out, "api\tasleep\ndb\trunning\n") {
		t.Errorf("got %+v", got)
	}
}

func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: %q", cmd.CommandPath(), cmd.Short)
		}
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk((&app{}).root())
}

func TestTheReferenceOfTheCommandsIsThatOfTheProgram(t *testing.T) {
	written, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), run(t, "", "", nil, "docs").out); diff != "" {
		t.Errorf("docs/cli.md is behind; write it anew: go run ./spawner docs > docs/cli.md\n%s", diff)
	}
}
