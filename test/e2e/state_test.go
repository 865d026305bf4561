//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
	"edgespawner/test/stand"
)

// loseDatabase ends the spawner and deletes its database; the rest of the state directory stays.
func loseDatabase(t *testing.T, s *stand.Stand) {
	t.Helper()
	s.Spawner.Kill()
	files, err := filepath.Glob(filepath.Join(s.Spawner.StateDir, "spawner.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database in %s: %v", s.Spawner.StateDir, err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// known is what a service must still be when the spawner has lost its memory.
func known(s *stand.Stand, service string) string {
	d := s.Service(service)
	return fmt.Sprintf("%s revision %d, %s, %d of %d ready, hosts %v, check %+v, sleeps after %s, ports %v",
		d.Name, d.Revision, d.Status, d.Ready(), d.Replicas, d.Spec.Route.Hosts, *d.Spec.HealthCheck, d.Spec.Sleep.After, d.Spec.Ports)
}

func TestALostDatabaseIsRebuiltFromTheContainers(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	web := s.MockApp("web", "web.test", "www.web.test")
	web.Replicas = 2
	web.Env["CONNSTR"] = "postgres://user:pass word@db/x?a=b&c='d'"
	web.Ports = []fleet.Port{{ContainerPort: 9000, HostPort: stand.FreePort(t), Protocol: "tcp"}}
	s.Deploy(web)
	s.Deploy(withVersion(t, web, 1))
	for name, mode := range map[string]fleet.SleepMode{"nap": fleet.SleepStop, "doze": fleet.SleepPause, "deep": fleet.SleepDeep} {
		app := s.MockApp(name, name+".test")
		app.Sleep.Mode = mode
		app.Sleep.After = fleet.Duration(time.Hour)
		s.Deploy(app)
	}
	sleepAll(t, s, "nap", "doze", "deep")
	names := []string{"web", "nap", "doze", "deep"}
	var before []string
	for _, name := range names {
		before = append(before, known(s, name))
	}
	listing := s.Listing()
	traffic := s.StartLoad(stand.Load{Host: "web.test", Posts: -1})

	loseDatabase(t, s)
	s.Spawner.Start()
	s.Spawner.WaitReady()
	for i, name := range names {
		stand.Eventually(t, 20*time.Second, name+" is known as before", func() error {
			if now := known(s, name); now != before[i] {
				return fmt.Errorf("rebuilt:\n%s\nbefore:\n%s", now, before[i])
			}
			return nil
		})
	}
	s.Edges[0].WaitFed()
	traffic.Stop().MustBeClean(t)
	if now := withoutLease(s.Listing()); now != withoutLease(listing) {
		t.Errorf("containers now:\n%s\nbefore:\n%s", now, listing)
	}
	s.Get("www.web.test", "/").MustBe(200).MustContain("connstr: " + web.Env["CONNSTR"].Reveal()).MustContain("version: 1")
	for _, name := range names[1:] {
		s.Get(name+".test", "/").MustBe(200).MustContain("hostname: " + name + "-0")
	}
	s.Deploy(withVersion(t, web, 2)) // life goes on, with a revision of its own
	s.Get("web.test", "/").MustBe(200).MustContain("version: 2")
	if revision := s.Service("web").Revision; revision != 3 {
		t.Errorf("the next deploy is revision %d, want 3", revision)
	}
}

// repair is how long what somebody has removed by hand takes to be made anew.
const repair = 90 * time.Second

// withoutLease leaves out the line of the spawner's own lease.
func withoutLease(listing string) string {
	var kept []string
	for line := range strings.Lines(listing) {
		if !strings.Contains(line, "spawner-lease") {
			kept = append(kept, line)
		}
	}
	return strings.TrimSpace(strings.Join(kept, ""))
}

func TestWhatWentWhileTheSpawnerWasAwayIsThereAgain(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	web, nap := s.MockApp("web", "web.test"), s.MockApp("nap", "nap.test")
	web.Replicas, nap.Replicas = 3, 2
	s.Deploy(web)
	s.Deploy(nap)
	s.Deploy(s.MockApp("solo", "solo.test"))
	s.Sleep("nap")

	s.Spawner.Kill()
	stand.Docker(t, "rm", "-f", s.AppOf("web", 0), s.SandboxOf("web", 0), s.AppOf("web", 1), s.AppOf("nap", 1), s.SandboxOf("nap", 1), s.AppOf("solo", 0), s.SandboxOf("solo", 0))
	stand.Docker(t, "stop", "-t", "1", s.AppOf("web", 2))
	s.Spawner.Start()
	s.Spawner.WaitReady()

	s.Get("solo.test", "/").MustBe(200).MustContain("hostname: solo-0")
	for service, replicas := range map[string]int{"web": 3, "solo": 1} {
		stand.Eventually(t, repair, service+" is whole", func() error { return servesRevision(s, service, 1, replicas) })
	}
	s.Get("nap.test", "/").MustBe(200)
	stand.Eventually(t, repair, "nap is whole", func() error { return servesRevision(s, "nap", 1, 2) })
}

func TestASecondSpawnerOfTheFleetStandsByAndTakesOver(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	s.Deploy(counted(s, collector, "web", 1))
	s.Deploy(counted(s, collector, "nap", 1))
	s.Sleep("nap")
	before := s.Containers("web", "")

	second := s.Spawner.Successor("second")
	second.Start()
	stand.Eventually(t, 30*time.Second, "the second spawner stands by", func() error {
		if !strings.Contains(second.Log(), "Standing by") {
			return fmt.Errorf("its log says: %s", second.LogTail(3))
		}
		return nil
	})
	stand.Always(t, 3*time.Second, "the second spawner stands by and the first one serves", func() error {
		if !second.Running() || !s.Spawner.Running() {
			return fmt.Errorf("first %v, second %v:\n%s", s.Spawner.Running(), second.Running(), second.LogTail(3))
		}
		return nil
	})
	s.Get("nap.test", "/").MustBe(200)
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	s.Spawner.Kill()
	s.Spawner, s.Client = second, nil
	second.WaitReady()
	s.Edges[0].WaitFed()
	traffic.Stop().MustBeClean(t)
	if now := s.Containers("web", ""); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("the successor has replaced the containers %v by %v", before, now)
	}
	s.Sleep("nap")
	s.Get("nap.test", "/").MustBe(200)
	s.Deploy(s.MockApp("fresh", "fresh.test"))
	s.Get("fresh.test", "/").MustBe(200)
}

func TestASecondSpawnerOnTheSameStateDirectoryDoesNotRunBesideTheFirst(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	second := s.Spawner.Successor("twin")
	second.SetFlag("--state-dir=" + s.Spawner.StateDir)
	second.SetFlag(fmt.Sprintf("--api-address=127.0.0.1:%d", stand.FreePort(t)))
	second.SetFlag(fmt.Sprintf("--fallback-address=127.0.0.1:%d", stand.FreePort(t)))
	second.Start()
	stand.Always(t, 4*time.Second, "the first spawner is the only one", func() error {
		if !s.Spawner.Running() {
			return fmt.Errorf("the first one has ended:\n%s", s.Spawner.LogTail(5))
		}
		if strings.Contains(second.Log(), "msg=Ready") {
			return fmt.Errorf("the second one is at work too:\n%s", second.LogTail(5))
		}
		return nil
	})
	s.Deploy(s.MockApp("other", "other.test"))
	s.Get("web.test", "/").MustBe(200)
}

func TestABackupIsRestored(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	s.Deploy(s.MockApp("gone", "gone.test"))
	s.Sleep("gone")
	token, err := s.Client.AddToken(t.Context(), "ci", fleet.ScopeRead, 0)
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if output, code := s.CLI("backup", "--state-dir", s.Spawner.StateDir, backup); code != 0 {
		t.Fatalf("backup ended with code %d: %s", code, output)
	}
	s.Deploy(withVersion(t, s.MockApp("web", "web.test"), 1)) // after the backup: a revision,
	s.Deploy(s.MockApp("late", "late.test"))                  // a service,
	s.Remove("gone")                                          // and one less
	traffic := s.StartLoad(stand.Load{Host: "web.test", Limit: stand.Held, Posts: -1})
	s.Spawner.Stop()
	if output, code := s.CLI("restore", "--state-dir", s.Spawner.StateDir, backup); code != 0 {
		t.Fatalf("restore ended with code %d: %s", code, output)
	}
	s.Spawner.Start()
	s.Spawner.WaitReady()
	s.Edges[0].WaitFed()

	reader, err := client.New(client.Config{URL: s.Spawner.APIURL, Token: token.Token})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := reader.Services(t.Context()); err != nil {
		t.Errorf("the token of the backup is not known: %v", err)
	}
	s.Get("late.test", "/").MustBe(200).MustContain("hostname: late-0") // runs, so it is taken up again
	s.Get("gone.test", "/").MustBe(200).MustContain("hostname: gone-0")
	for service, replicas := range map[string]int{"web": 1, "late": 1, "gone": 1} {
		stand.Eventually(t, repair, service+" is whole", func() error { return whole(s, service) })
		if now := s.Service(service).Replicas; now != replicas {
			t.Errorf("%s has %d replicas, want %d", service, now, replicas)
		}
	}
	traffic.Stop().MustBeClean(t)
	s.Deploy(withVersion(t, s.MockApp("web", "web.test"), 2))
	s.Get("web.test", "/").MustBe(200).MustContain("version: 2")
}
