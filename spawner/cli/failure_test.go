package cli

import (
	"net/http"
	"strings"
	"testing"

	"edgespawner/fleet"
)

func TestEachCommandFailsWhenTheSpawnerAnswersAnError(t *testing.T) {
	answers := map[string]any{}
	stub := newSpawner(t, answers)
	stub.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answerJSON(w, http.StatusServiceUnavailable, map[string]any{"error": fleet.Errorf(fleet.Unavailable, "it is not well")})
	})
	for _, command := range []string{
		"ps", "inspect api", "revisions api", "logs api", "logs api -f", "events", "events -f", "why api", "wake api", "sleep api db", "rm api",
		"deploy --name api --image x", "deploy --name api --image x --dry-run", "scale api --replicas 2", "restart api", "rollback api",
		"node ls", "node add n2 --endpoint unix:///x", "node add n2 --update --address 10.0.0.2", "node drain n2", "node drain n2 --no-wait",
		"node resume n2", "node rm n2", "rebalance --plan", "rebalance --yes", "whatif --kill n2", "edges", "jobs", "jobs ls", "jobs show j1",
		"jobs cancel j1", "token ls", "token create ci --scope read", "token rm ci", "webhook ls", "webhook add ops http://x", "webhook test ops", "webhook rm ops",
	} {
		for _, form := range []string{"table", "json"} {
			got := stub.ask(t, append(strings.Fields(command), "-o", form)...)
			if got.code != exitFailed || !strings.Contains(got.err, "it is not well") {
				t.Errorf("%s -o %s: got %+v", command, form, got)
			}
		}
	}
}

func TestABackupWhereNoDatabaseIsLeadsIntoTheContainer(t *testing.T) {
	dir := t.TempDir()
	got := run(t, "", "", nil, "backup", "--state-dir", dir, dir+"/copy.db")
	if got.code != exitFailed || !strings.Contains(got.err, "there is no database "+dir) || !strings.Contains(got.err, "docker exec CONTAINER spawner backup FILE") {
		t.Errorf("got %+v", got)
	}
}
