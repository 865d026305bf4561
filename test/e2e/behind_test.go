//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

func TestAServiceIsWokenWhateverWasDoneToItsContainersBehindOurBack(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	asleep := map[string]func(app, sandbox string){
		"app-removed":     func(app, _ string) { stand.Docker(t, "rm", "-f", app) },
		"sandbox-removed": func(_, sandbox string) { stand.Docker(t, "rm", "-f", sandbox) },
		"both-removed":    func(app, sandbox string) { stand.Docker(t, "rm", "-f", app, sandbox) },
		"sandbox-stopped": func(_, sandbox string) { stand.Docker(t, "stop", "-t", "1", sandbox) },
		"sandbox-killed":  func(_, sandbox string) { stand.Docker(t, "kill", sandbox) },
	}
	names := make([]string, 0, len(asleep))
	for name := range asleep {
		s.Deploy(s.MockApp(name, name+".test"))
		names = append(names, name)
	}
	sleepAll(t, s, names...)
	for name, harm := range asleep {
		harm(s.AppOf(name, 0), s.SandboxOf(name, 0))
		s.Get(name+".test", "/").MustBe(200).MustContain("hostname: " + name + "-0")
		s.WaitStatus(name, 20*time.Second, fleet.StatusRunning)
	}
}

func TestADozingServiceIsWokenWhateverWasDoneToItBehindOurBack(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	dozing := map[string]func(app, sandbox string){
		"unpaused":        func(app, _ string) { stand.Docker(t, "unpause", app) },
		"stopped":         func(app, _ string) { stand.Docker(t, "stop", "-t", "1", app) },
		"killed":          func(app, _ string) { stand.Docker(t, "kill", app) },
		"removed":         func(app, _ string) { stand.Docker(t, "rm", "-f", app) },
		"sandbox-removed": func(_, sandbox string) { stand.Docker(t, "rm", "-f", sandbox) },
	}
	names := make([]string, 0, len(dozing))
	for name := range dozing {
		app := s.MockApp(name, name+".test")
		app.Sleep.Mode = fleet.SleepPause
		s.Deploy(app)
		names = append(names, name)
	}
	sleepAll(t, s, names...)
	for name, harm := range dozing {
		harm(s.AppOf(name, 0), s.SandboxOf(name, 0))
		if answer := s.Get(name+".test", "/"); answer.Err != nil || answer.Status != 200 {
			t.Errorf("%s: got %d %s, %v after %s", name, answer.Status, answer.Body, answer.Err, answer.Took)
		}
		s.WaitStatus(name, 20*time.Second, fleet.StatusRunning)
	}
}

func TestAnAwakeServiceSurvivesWhatIsDoneToItsContainersBehindOurBack(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	awake := map[string]func(app, sandbox string){
		"app-removed":       func(app, _ string) { stand.Docker(t, "rm", "-f", app) },
		"sandbox-removed":   func(_, sandbox string) { stand.Docker(t, "rm", "-f", sandbox) },
		"app-stopped":       func(app, _ string) { stand.Docker(t, "stop", app) },
		"app-killed":        func(app, _ string) { stand.Docker(t, "kill", app) },
		"app-paused":        func(app, _ string) { stand.Docker(t, "pause", app) },
		"app-restarted":     func(app, _ string) { stand.Docker(t, "restart", app) },
		"sandbox-restarted": func(_, sandbox string) { stand.Docker(t, "restart", "-t", "1", sandbox) },
		"sandbox-stopped":   func(_, sandbox string) { stand.Docker(t, "stop", "-t", "1", sandbox) },
	}
	for name := range awake {
		app := s.MockApp(name, name+".test")
		app.HealthCheck.Retries = 100 // so that failed probes alone would take long to tell
		s.Deploy(app)
		s.Get(name+".test", "/").MustBe(200)
	}
	for name, harm := range awake {
		app, sandbox := s.AppOf(name, 0), s.SandboxOf(name, 0)
		harm(app, sandbox)
		answer := s.Get(name+".test", "/")
		if answer.Err != nil || answer.Status != 200 {
			t.Errorf("%s: got %d, %v after %s", name, answer.Status, answer.Err, answer.Took)
		}
		if answer.Took > 20*time.Second {
			t.Errorf("%s: answered after %s", name, answer.Took)
		}
		stand.Eventually(t, 60*time.Second, name+" runs again as it should", func() error {
			if status := s.Service(name).Status; status != fleet.StatusRunning {
				return fmt.Errorf("it is %s", status)
			}
			if state, err := stand.TryDocker("inspect", "-f", "{{.State.Status}}", s.Service(name).Containers[0].ID); err != nil || state != "running" {
				return fmt.Errorf("its app is %s, %v", state, err)
			}
			return nil
		})
		s.Get(name+".test", "/").MustBe(200)
	}
}

func TestAnAppThatWasOnlyCreatedIsWoken(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	name := s.Name("web") // whose name nobody else takes while it is free
	s.Deploy(s.MockApp(name, "web.test"))
	s.Sleep(name)
	// An app that is made anew by a restart of the spawner's own is created and
	// never started until somebody wakes it.
	app, sandbox := s.AppOf(name, 0), s.SandboxOf(name, 0)
	copyContainer(t, app, sandbox)
	s.Spawner.Restart()
	if state := stand.StateOf(t, s.AppOf(name, 0)); state != "created" {
		t.Fatalf("the app is %s, want created", state)
	}
	s.Get("web.test", "/").MustBe(200).MustContain("hostname: " + name + "-0")
}

// copyContainer puts a container that was never started in an app's place.
func copyContainer(t *testing.T, app, sandbox string) {
	t.Helper()
	name := stand.Inspect(t, app, "{{.Name}}")[1:]
	image := stand.Inspect(t, app, "{{.Image}}")
	labels := stand.Inspect(t, app, `{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{"\n"}}{{end}}`)
	env := stand.Inspect(t, app, `{{range .Config.Env}}{{.}}{{"\n"}}{{end}}`)
	stand.Docker(t, "rm", "-f", app)
	args := []string{"create", "--name", name, "--network", "container:" + sandbox}
	for _, pair := range lines(labels) {
		args = append(args, "--label", pair)
	}
	for _, pair := range lines(env) {
		args = append(args, "--env", pair)
	}
	stand.Docker(t, append(args, image)...)
}

func TestAServiceThatIsStartedByHandIsAwake(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	s.Sleep("web")
	stand.Docker(t, "start", s.AppOf("web", 0))
	s.WaitStatus("web", 20*time.Second, fleet.StatusRunning)
	s.Get("web.test", "/").MustBe(200)
}
