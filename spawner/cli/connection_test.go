package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgespawner/fleet"
)

// writeEnvFile leaves a .spawner/env in a new folder and returns a folder below it.
func writeEnvFile(t *testing.T, text string) (root, below string) {
	t.Helper()
	root = t.TempDir()
	below = filepath.Join(root, "examples", "one")
	for _, dir := range []string{below, filepath.Join(root, ".spawner")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, envFilePath), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return root, below
}

func TestTheSpawnerIsFoundByFlagThenEnvironmentThenFile(t *testing.T) {
	none := map[string]any{"GET /api/services": []fleet.Service{}}
	byFlag, byVariable, byFile := newSpawner(t, none), newSpawner(t, none), newSpawner(t, none)
	_, below := writeEnvFile(t, "export SPAWNER_URL='"+byFile.URL+"/'\nexport SPAWNER_TOKEN=of-file\n")
	for _, test := range []struct {
		name        string
		environment []string
		args        []string
		asked       *spawnerStub
		token       string
	}{
		{"file", nil, []string{"ps"}, byFile, "of-file"},
		{"flag names the file's", nil, []string{"ps", "--host", byFile.URL}, byFile, "of-file"},
		{"environment", []string{"SPAWNER_URL", byVariable.URL}, []string{"ps"}, byVariable, ""},
		{"environment with token", []string{"SPAWNER_URL", byVariable.URL, "SPAWNER_TOKEN", "of-variable"}, []string{"ps"}, byVariable, "of-variable"},
		{"flag", []string{"SPAWNER_URL", byVariable.URL, "SPAWNER_TOKEN", "of-variable"}, []string{"ps", "--host", byFlag.URL, "--token", "of-flag"}, byFlag, "of-flag"},
		{"flag before the verb", nil, []string{"--host", byFlag.URL, "-o", "json", "ps"}, byFlag, ""},
		{"token for the file's", []string{"SPAWNER_TOKEN", "of-variable"}, []string{"ps"}, byFile, "of-variable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(test.asked.questions())
			result := run(t, below, "", test.environment, test.args...)
			if result.code != 0 || len(test.asked.questions()) != before+1 {
				t.Fatalf("got %+v, asked %v", result, test.asked.questions())
			}
			if test.asked.token != test.token {
				t.Errorf("got token %q, want %q", test.asked.token, test.token)
			}
		})
	}
}

func TestAFileWhereEverybodyMayWriteIsPassedOver(t *testing.T) {
	root, below := writeEnvFile(t, "SPAWNER_URL=http://127.0.0.1:1\n")
	if err := os.Chmod(root, 0o777); err != nil {
		t.Fatal(err)
	}
	file, err := findEnvFile(below)
	if err != nil || file != (envFile{}) {
		t.Errorf("got %+v, %v, want none", file, err)
	}
}

func TestTheFileIsReadAsAShellWould(t *testing.T) {
	got := parseEnvFile("# comment\nexport SPAWNER_URL=\"http://127.0.0.1:8008\"\n  export SPAWNER_TOKEN='abc'\nOTHER=1\nnonsense\n")
	if want := (envFile{"http://127.0.0.1:8008", "abc"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestACredentialIsNotSentInClearToAnotherMachine(t *testing.T) {
	result := run(t, "", "", nil, "ps", "--host", "http://192.0.2.1:8008", "--token", "quite-secret")
	if result.code != exitFailed || !strings.Contains(result.err, "ssh://") || strings.Contains(result.err, "quite-secret") {
		t.Errorf("got %+v", result)
	}
}

func TestAMissingTokenIsSaid(t *testing.T) {
	stub := newSpawner(t, map[string]any{"GET /api/services": fleet.Errorf(fleet.Unauthorized, "a credential is wanted")})
	result := run(t, "", "", []string{"SPAWNER_URL", stub.URL}, "ps")
	if result.code != exitFailed || !strings.HasPrefix(result.err, "spawner: a credential is wanted\nspawner: no token was sent") {
		t.Errorf("got %+v", result)
	}
}

func TestASpawnerThatIsNotThereIsNamed(t *testing.T) {
	stub := newSpawner(t, nil)
	stub.Close()
	result := stub.ask(t, "edges")
	if result.code != exitFailed || !strings.HasPrefix(result.err, "spawner: cannot reach the spawner at "+stub.URL) {
		t.Errorf("got %+v", result)
	}
}
