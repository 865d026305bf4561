package stand

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edgespawner/spawner/client"
)

// Spawner is the spawner of a stand, a process of the host.
type Spawner struct {
	*Process
	stand *Stand

	Program     string // bin/spawner; SPAWNER_BINARY names another
	StateDir    string
	APIURL      string
	FallbackURL string

	fallbackPort int
}

func newSpawner(t T, s *Stand, root string, apiPort int, edgeToken string, o options) *Spawner {
	t.Helper()
	fallbackPort := FreePort(t)
	sp := &Spawner{
		stand:       s,
		Program:     cmp.Or(os.Getenv("SPAWNER_BINARY"), filepath.Join(root, "bin", "spawner")),
		StateDir:    filepath.Join(s.Dir, "state"),
		APIURL:      fmt.Sprintf("http://127.0.0.1:%d", apiPort),
		FallbackURL: fmt.Sprintf("http://127.0.0.1:%d", fallbackPort),

		fallbackPort: fallbackPort,
	}
	args := []string{"serve",
		fmt.Sprintf("--api-address=127.0.0.1:%d", apiPort),
		fmt.Sprintf("--fallback-address=127.0.0.1:%d", fallbackPort),
		"--fallback-url=" + sp.FallbackURL,
		"--state-dir=" + sp.StateDir,
		"--fleet=" + s.FleetID,
		"--network=" + s.Network,
		"--sandbox-image=" + SandboxImage,
		"--log-level=debug",
	}
	if o.boxed {
		args = append(args, "--fallback-url=http://"+overBridge(t, fallbackPort))
	}
	for _, edge := range s.Edges {
		args = append(args, "--edge="+edge.flag())
	}
	if len(s.Edges) > 0 {
		args = append(args, fmt.Sprintf("--http-port=%d", s.Edges[0].webPort), fmt.Sprintf("--https-port=%d", s.Edges[0].webSecurePort))
	}
	if s.ACME != nil {
		args = append(args, "--cert-resolver=letsencrypt", "--acme-edge="+s.Edges[0].Name)
	}
	if s.Lab != nil {
		args = append(args, "--docker-host=unix://"+s.Lab.Nodes[0].Socket(), "--node-name="+s.Lab.Nodes[0].Name)
	}
	env := append([]string{"SPAWNER_EDGE_TOKEN=" + edgeToken}, o.env...)
	program, args := s.home(0).enter(sp.Program, append(args, o.flags...))
	sp.Process = newProcess(t, s.Dir, "spawner", program, args, env)
	return sp
}

// Successor is a spawner with the same flags and a state directory of its own,
// such as another machine would run for the day that this one is gone. It is down.
func (sp *Spawner) Successor(name string) *Spawner {
	sp.t.Helper()
	next := &Spawner{stand: sp.stand, Program: sp.Program, APIURL: sp.APIURL, FallbackURL: sp.FallbackURL}
	next.StateDir = filepath.Join(sp.stand.Dir, name)
	args := append(slices.Clone(sp.args), "--state-dir="+next.StateDir)
	next.Process = newProcess(sp.t, sp.stand.Dir, name, sp.program, args, sp.env)
	sp.t.Cleanup(next.Kill)
	return next
}

// SetFlag adds or overrides a flag, from the next start on.
func (sp *Spawner) SetFlag(flag string) { sp.args = append(sp.args, flag) }

// WaitReady waits until the spawner says that it is ready and makes the
// stand's client with the admin's token.
func (sp *Spawner) WaitReady() {
	sp.t.Helper()
	Eventually(sp.t, readyTime, "the spawner is ready", func() error {
		if !sp.Running() {
			sp.t.Fatalf("the spawner ended while starting:\n%s", sp.LogTail(30))
		}
		token, err := os.ReadFile(filepath.Join(sp.StateDir, "admin-token"))
		if err != nil {
			return err
		}
		if sp.stand.Client == nil {
			sp.stand.Client, err = client.New(client.Config{URL: sp.APIURL, Token: strings.TrimSpace(string(token))})
			if err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return sp.stand.Client.Ready(ctx)
	})
}

// Restart kills the spawner with -9, starts it at once, and waits until it is ready.
func (sp *Spawner) Restart() {
	sp.t.Helper()
	sp.Kill()
	sp.Start()
	sp.WaitReady()
}

// AdminToken returns the token that the first start made.
func (sp *Spawner) AdminToken() string {
	sp.t.Helper()
	token, err := os.ReadFile(filepath.Join(sp.StateDir, "admin-token"))
	must(sp.t, err, "read the admin token")
	return strings.TrimSpace(string(token))
}

// end9 kills it if it was ever started.
func (sp *Spawner) end9() {
	sp.Kill()
	if sp.stand.Client != nil {
		if err := sp.stand.Client.Close(); err != nil {
			sp.t.Logf("cannot close the client: %v", err)
		}
	}
}

// CLI runs bin/spawner against this stand's spawner, as an admin would, and
// returns what it wrote to both outputs, and its exit code.
func (s *Stand) CLI(args ...string) (string, int) {
	s.t.Helper()
	return s.CLIWithInput("", args...)
}

// StartCLI starts a command of bin/spawner that goes on, such as events -f, and
// returns at once. It is killed at the end of the test.
func (s *Stand) StartCLI(name string, args ...string) *Process {
	s.t.Helper()
	p := newProcess(s.t, s.Dir, name, s.Spawner.Program, args, []string{"SPAWNER_URL=" + s.Spawner.APIURL, "SPAWNER_TOKEN=" + s.Spawner.AdminToken()})
	s.t.Cleanup(p.Kill)
	p.Start()
	return p
}

// CLIWithInput is CLI with something on standard input.
func (s *Stand) CLIWithInput(input string, args ...string) (string, int) {
	s.t.Helper()
	command := exec.Command(s.Spawner.Program, args...)
	command.Env = append(os.Environ(), "SPAWNER_URL="+s.Spawner.APIURL, "SPAWNER_TOKEN="+s.Spawner.AdminToken())
	command.Dir = s.Dir
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		s.t.Fatalf("cannot run spawner %s: %v", strings.Join(args, " "), err)
	}
	return string(output), command.ProcessState.ExitCode()
}
