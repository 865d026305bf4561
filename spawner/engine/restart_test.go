package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/sqlite"
)

// withoutCalls fails when the engine of containers is asked to change anything.
func (w *world) withoutCalls(while func()) {
	w.t.Helper()
	w.docker.mu.Lock()
	before := len(w.docker.calls)
	w.docker.mu.Unlock()
	while()
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	for _, call := range w.docker.calls[before:] {
		verb, _, _ := strings.Cut(call, " ")
		if slices.Contains([]string{"create", "start", "stop", "remove", "pause", "unpause"}, verb) {
			w.t.Errorf("called %s", call)
		}
	}
}

func TestARestartOfTheSpawnerTouchesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.asleep(w.spec("api", "app:2", 2))
		dozing := w.spec("db", "app:3", 1)
		dozing.Sleep.Mode = fleet.SleepPause
		w.asleep(dozing)
		stop := w.traffic("web", 20*time.Millisecond, time.Second)
		w.withoutCalls(func() {
			w.restart()
			time.Sleep(time.Minute)
			w.kill()
			time.Sleep(time.Minute)
		})
		stop()
		w.settledOn("web", 1, 2)
		for name, status := range map[string]fleet.Status{"web": fleet.StatusRunning, "api": fleet.StatusAsleep, "db": fleet.StatusDozing} {
			if got := w.status(name); got != status {
				t.Errorf("%s is %s", name, got)
			}
		}
		for _, name := range []string{"api", "db"} {
			if _, err := w.request(name, 0); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAServiceIsRebuiltFromItsContainersWhenTheDatabaseIsLost(t *testing.T) {
	inWorld(t, func(w *world) {
		web := w.spec("web", "app:1", 2)
		web.Env = map[string]fleet.Secret{"KEY": "value"}
		w.deployed(web)
		web.Image = "app:2"
		w.deployed(web)
		w.asleep(w.spec("api", "app:3", 1))
		w.withoutCalls(func() {
			w.stop()
			if err := w.store.Close(); err != nil {
				t.Fatal(err)
			}
			w.openStore(filepath.Join(t.TempDir(), "new.db"))
			w.start()
			time.Sleep(time.Minute)
		})
		w.settledOn("web", 2, 2)
		spec, err := w.engine().Spec(w.ctx, "web")
		if err != nil || spec.Image != "app:2" || spec.Env["KEY"].Reveal() != "value" || spec.Route.Hosts[0] != "web.example.com" {
			t.Errorf("%+v, %v", spec, err)
		}
		if accepted, err := w.engine().Deploy(w.ctx, web, "tester", false); err != nil || !accepted.Unchanged {
			t.Errorf("the same spec: %+v, %v", accepted, err)
		}
		if _, err := w.request("api", 0); err != nil {
			t.Error(err)
		}
		web.Image = "app:4"
		w.deployed(web)
		w.settledOn("web", 3, 2)
		w.deployed(w.spec("new", "app:1", 2)) // it gets no address of theirs
		leases, err := w.store.Addresses().Holders(w.ctx)
		if err != nil || len(leases) != 5 {
			t.Errorf("%v, %v", leases, err)
		}
	})
}

func TestAnOlderDatabaseDoesNotKeepTheSpawnerFromStarting(t *testing.T) {
	synctestWorld(t, func(w *world) { w.smallNetwork("10.9.0.0/28") }, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		backup := filepath.Join(t.TempDir(), "backup.db")
		if err := sqlite.Backup(w.ctx, w.path, backup); err != nil {
			t.Fatal(err)
		}
		for n := range 4 { // addresses change hands
			w.deployed(w.spec("web", fmt.Sprintf("app:%d", n+2), 2))
			w.deployed(w.spec(fmt.Sprintf("api%d", n), "app:1", 1))
		}
		w.stop()
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
		w.openStore(backup)
		w.start()
		time.Sleep(time.Minute)
		for name, n := range map[string]int{"web": 2, "api0": 1, "api3": 1} {
			if got := len(w.endpoints(name)); got != n {
				t.Errorf("%s has %d endpoints\n%s", name, got, w.picture())
			}
		}
	})
}

func TestWhatWasAwakeIsStartedAfterARebootOfItsNode(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.asleep(w.spec("api", "app:2", 1))
		w.stop()
		for _, name := range []string{"web-0", "web-1", "api-0"} { // the sandboxes come back by themselves
			w.crash(name, 255)
			w.crash(name+".net", 255)
		}
		time.Sleep(time.Second)
		w.start()
		w.settledOn("web", 1, 2)
		if status := w.status("api"); status != fleet.StatusAsleep {
			t.Errorf("api is %s", status)
		}
	})
}

func TestAnAppThatRunsInANetworkThatIsGoneIsRestartedAtTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		dozing := w.spec("db", "app:3", 1)
		dozing.Sleep.Mode = fleet.SleepPause
		w.asleep(dozing)
		w.stop()
		w.crash("web-1.net", 1)
		w.crash("db-0.net", 1)
		time.Sleep(time.Second)
		w.start()
		time.Sleep(5 * time.Second)
		w.settledOn("web", 1, 2)
		for _, endpoint := range w.endpoints("web") {
			conn, ok := w.docker.dial(addressOf(endpoint))
			if !ok {
				t.Fatalf("nothing answers at %v", endpoint)
			}
			conn.close()
		}
		if _, err := w.request("db", 0); err != nil {
			t.Error(err)
		}
	})
}

func TestReplicasOfWhichNothingIsLeftAreMadeAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		deep := w.spec("api", "app:2", 2)
		deep.Sleep.Mode = fleet.SleepDeep
		w.asleep(deep)
		w.stop()
		for _, name := range []string{"web-1", "web-1.net", "api-0", "api-0.net", "api-1", "api-1.net"} {
			w.removeByHand(name)
		}
		w.start()
		w.settledOn("web", 1, 3)
		if _, err := w.request("api", 0); err != nil {
			t.Error(err)
		}
		w.settledOn("api", 1, 2)
	})
}

// smallNetwork leaves few addresses, which therefore soon change hands.
func (w *world) smallNetwork(subnet string) {
	prefix := netip.MustParsePrefix(subnet)
	n := w.docker.networks["traefiknet"]
	n.Subnet, n.IPRange, n.Gateway = prefix, strangersRange(prefix), prefix.Addr().Next()
	w.docker.networks["traefiknet"] = n
}

func TestAnAddressIsNeverGivenToTwo(t *testing.T) {
	synctestWorld(t, func(w *world) { w.smallNetwork("10.9.0.0/27") }, func(w *world) { // which end() checks: by what runs, and by what the edge knows
		w.edge.set(func() { w.edge.delay = 2 * time.Second })
		for n := range 8 {
			w.deployed(w.spec("web", fmt.Sprintf("app:%d", n+1), 3))
			w.deployed(w.spec(fmt.Sprintf("api%d", n), "app:1", 1))
			if n%2 == 1 {
				w.succeeded(w.engine().Remove(w.ctx, fmt.Sprintf("api%d", n), "tester"))
				w.restart()
			}
		}
		leases, err := w.store.Addresses().Holders(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(leases) != 3+4 {
			t.Errorf("%d addresses are held: %v", len(leases), leases)
		}
	})
}

func TestTheEngineEndsWithEverythingThatItStarted(t *testing.T) {
	for name, busy := range map[string]func(w *world){
		"idle": func(*world) {},
		"in a deploy": func(w *world) {
			w.behave("app:2", behaviour{never: true})
			if _, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 2), "tester", false); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(time.Second)
		},
		"in a wake that others wait for": func(w *world) {
			w.behave("app:1", behaviour{never: true})
			w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
			go w.request("web", 0)
			time.Sleep(time.Second)
		},
		"in a drain": func(w *world) {
			w.edge.set(func() { w.edge.deaf = true })
			if _, err := w.engine().Sleep(w.ctx, "web", "tester"); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(time.Second)
		},
		"in a back-off": func(w *world) {
			w.behave("app:1", behaviour{exits: true, exitAfter: time.Millisecond, exitCode: 1})
			w.crash("web-0", 1)
			time.Sleep(3 * time.Second)
		},
		"with somebody who follows": func(w *world) {
			w.engine().FollowEvents(w.ctx, fleet.EventFilter{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", 2))
				busy(w)
				began := time.Now()
				w.stop()
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it ended after %s", took)
				}
				w.edge.set(func() { w.edge.deaf = false })
				if _, err := w.engine().Deploy(w.ctx, w.spec("web", "app:3", 2), "tester", false); err == nil {
					t.Error("a deploy was accepted")
				}
				if _, err := w.engine().WakeForRequest(w.ctx, "web", "late"); err != nil && fleet.KindOf(err) != fleet.Unavailable {
					t.Errorf("a late request: %v", err)
				}
				w.start()
			})
		})
	}
}

// reluctant is a store that fails at first.
type reluctant struct {
	Services
	failures int
	saved    []fleet.Desired
	put      []fleet.Standing
}

func (s *reluctant) fails() error {
	if s.failures--; s.failures >= 0 {
		return errors.New("the database is locked")
	}
	return nil
}

func (s *reluctant) Save(_ context.Context, d fleet.Desired) error {
	err := s.fails()
	if err == nil {
		s.saved = append(s.saved, d)
	}
	return err
}

func (s *reluctant) List(context.Context) ([]fleet.Standing, error) { return nil, nil }

func (s *reluctant) Change(_ context.Context, put, _ []fleet.Standing) error {
	err := s.fails()
	if err == nil {
		s.put = append(s.put, put...)
	}
	return err
}

func TestWhatAStoreRefusesIsStoredAgainUnlessItHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer end()
		desired, standing := &reluctant{failures: 2}, &reluctant{failures: 2}
		saver, standings := newSaver(desired, slog.New(slog.DiscardHandler)), newStandings(standing, slog.New(slog.DiscardHandler))
		go saver.run(ctx)
		go standings.run(ctx)
		saver.save(fleet.Desired{Name: "web", Power: fleet.PowerAwake})
		standings.change(fleet.Standing{Node: "a", AppName: "web-0"}, true)
		standings.change(fleet.Standing{Node: "a", AppName: "api-0"}, true)
		synctest.Wait()
		saver.save(fleet.Desired{Name: "web", Power: fleet.PowerAsleep})
		standings.change(fleet.Standing{Node: "a", AppName: "api-0"}, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(desired.saved) != 1 || desired.saved[0].Power != fleet.PowerAsleep {
			t.Errorf("saved %+v, want web asleep", desired.saved)
		}
		if len(standing.put) != 1 || standing.put[0].AppName != "web-0" {
			t.Errorf("stored %+v, want web-0 alone", standing.put)
		}
	})
}
