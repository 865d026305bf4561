package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"edgespawner/fleet"
)

// childPath tells a copy of the test binary to be the process that is killed.
const childPath = "SPAWNER_TEST_WRITE_REVISIONS_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := writeForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForever stores revisions and says each one's number once it is acknowledged.
func writeForever(path string) error {
	ctx := context.Background()
	store, err := Open(ctx, path, quiet)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		spec := fleet.DefaultSpec()
		spec.Name, spec.Env = "api", map[string]fleet.Secret{"ROUND": fleet.Secret(fmt.Sprint(i))}
		job := fleet.Job{ID: fmt.Sprintf("%d-%d", os.Getpid(), i), Kind: fleet.JobDeploy, State: fleet.JobQueued}
		number, err := store.Services().AddRevision(ctx, fleet.Revision{Spec: spec}, job)
		if err != nil {
			return err
		}
		if _, err := store.Events().Append(ctx, []fleet.Event{{Type: fleet.EventDeploy, Service: "api", Message: job.ID}}); err != nil {
			return err
		}
		fmt.Println(number, job.ID)
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spawner.db")
	acknowledged := map[int]string{}
	for range 5 {
		writeAndKill(t, path, 1+rand.IntN(60), acknowledged)
		store := openAt(t, path)
		must(t, check(t.Context(), store.reader, path))
		events, err := store.Events().List(t.Context(), fleet.EventFilter{Limit: 1 << 20})
		must(t, err)
		noted := map[string]bool{}
		for _, event := range events {
			noted[event.Message] = true
		}
		for number, id := range acknowledged {
			revision, err := store.Services().Revision(t.Context(), "api", number)
			must(t, err)
			job, err := store.Jobs().Get(t.Context(), id)
			must(t, err)
			if job.Revision != number || len(revision.Spec.Env) != 1 || !noted[id] {
				t.Errorf("revision %d has env %v, its job says %d, its event is there: %v", number, revision.Spec.Env, job.Revision, noted[id])
			}
		}
		must(t, store.Close())
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged")
	}
}

// writeAndKill lets a child write, kills it after some lines, and notes all that it acknowledged.
func writeAndKill(t *testing.T, path string, lines int, acknowledged map[int]string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childPath+"="+path)
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	scanner := bufio.NewScanner(output)
	for i := 0; scanner.Scan(); i++ {
		if i == lines {
			must(t, child.Process.Kill())
		}
		var number int
		var id string
		if _, err := fmt.Sscan(scanner.Text(), &number, &id); err == nil && id != "" {
			acknowledged[number] = id
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() == 1 {
		t.Fatalf("the child was not killed: %v", err)
	}
}
