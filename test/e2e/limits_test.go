//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
	"edgespawner/test/stand"
)

func TestARequestDuringADeployOfASleeperWakesTheRevisionInService(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := withEnv(s.MockApp("web", "web.test"), "VERSION", "1")
	s.Deploy(app)
	s.Sleep("web")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	accepted, err := s.Client.Deploy(ctx, withEnv(withEnv(app, "VERSION", "2"), "READY_DELAY", "15s"), client.DeployOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.WaitStatus("web", 20*time.Second, fleet.StatusDeploying)
	answer := s.Get("web.test", "/").MustBe(200).MustContain("version: 1")
	if answer.Took > 10*time.Second {
		t.Errorf("it came after %s", answer.Took)
	}
	if job, err := s.Client.WaitJob(ctx, accepted.JobID); err != nil || job.State != fleet.JobSucceeded {
		t.Fatalf("the deploy: %s %s, %v", job.State, job.Error, err)
	}
	s.Get("web.test", "/").MustBe(200).MustContain("version: 2")
}

func TestARequestForAServiceThatIsDeployedForTheFirstTimeWaits(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	accepted, err := s.Client.Deploy(ctx, withEnv(s.MockApp("web", "web.test"), "READY_DELAY", "2s"), client.DeployOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stand.Eventually(t, 20*time.Second, "the edge knows it", func() error {
		if edge, err := s.Edges[0].Status(); err != nil || edge.Confirmed == 0 {
			return fmt.Errorf("%v %w", edge, err)
		}
		return nil
	})
	s.Get("web.test", "/").MustBe(200)
	if job, err := s.Client.WaitJob(ctx, accepted.JobID); err != nil || job.State != fleet.JobSucceeded {
		t.Fatalf("the deploy: %s %s, %v", job.State, job.Error, err)
	}
}

func TestRequestsOverTheCapAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithFlags("--max-held=5"))
	s.Deploy(withEnv(s.MockApp("web", "web.test"), "READY_DELAY", "8s"))
	s.Sleep("web")
	var good, refused atomic.Int32
	together(t, 20, func(int) {
		answer := s.Get("web.test", "/")
		switch {
		case answer.Status == 200:
			good.Add(1)
		case answer.Status == 503 && answer.Header.Get("Retry-After") != "" && answer.Took < 5*time.Second:
			refused.Add(1)
		default:
			t.Errorf("status %d after %s, %v", answer.Status, answer.Took, answer.Err)
		}
	})
	if good.Load() != 5 || refused.Load() != 15 {
		t.Errorf("%d were answered and %d refused, want 5 and 15", good.Load(), refused.Load())
	}
}

func TestASpawnerThatIsStoppedLetsHeldClientsGoAndTouchesNothing(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("awake", "awake.test"))
	s.Deploy(withEnv(s.MockApp("web", "web.test"), "READY_DELAY", "15s"))
	s.Sleep("web")
	held := make(chan stand.Answer, 1)
	go func() { held <- s.Get("web.test", "/") }()
	s.WaitStatus("web", 12*time.Second, fleet.StatusWaking)
	traffic := s.StartLoad(stand.Load{Host: "awake.test", Rate: 50})
	before := s.Containers("awake", "")
	began := time.Now()
	if code := s.Spawner.Stop(); code != 0 {
		t.Errorf("it ended with code %d", code)
	}
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("it ended after %s", took)
	}
	s.Spawner.Start()
	s.Spawner.WaitReady()
	// The client is told to come again, or the edge has asked the new spawner for it.
	if answer := <-held; answer.Status != 200 && (answer.Status != 503 || answer.Header.Get("Retry-After") == "") {
		t.Errorf("the held client got %d, %v after %s", answer.Status, answer.Err, answer.Took)
	}
	s.Get("web.test", "/").MustBe(200)
	traffic.Stop().MustBeClean(t)
	if after := s.Containers("awake", ""); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the containers of awake were %v and are %v", before, after)
	}
}

// engineDoor is a socket before that of the engine, which can be shut.
type engineDoor struct {
	path string

	mu   sync.Mutex
	shut bool              // guarded by mu
	open map[net.Conn]bool // guarded by mu
}

// newEngineDoor listens until the test ends.
func newEngineDoor(t *testing.T) *engineDoor {
	t.Helper()
	door := &engineDoor{path: filepath.Join(t.TempDir(), "docker.sock"), open: map[net.Conn]bool{}}
	listener, err := net.Listen("unix", door.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); door.set(true) })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go door.pass(connection)
		}
	}()
	return door
}

// set shuts or opens the door; shut, it cuts every connection and takes no other.
func (d *engineDoor) set(shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = shut
	for connection := range d.open {
		if shut {
			connection.Close()
		}
	}
}

func (d *engineDoor) pass(connection net.Conn) {
	defer connection.Close()
	d.mu.Lock()
	shut := d.shut
	d.open[connection] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.open, connection)
	}()
	if shut {
		return
	}
	engine, err := net.Dial("unix", "/var/run/docker.sock")
	if err != nil {
		return
	}
	defer engine.Close()
	go func() {
		_, _ = io.Copy(connection, engine) // either end may go as it likes
		connection.Close()
	}()
	_, _ = io.Copy(engine, connection)
}

func TestAnEngineThatDoesNotAnswerIsToldHonestlyAndComesBack(t *testing.T) {
	t.Parallel()
	door := newEngineDoor(t)
	s := stand.Start(t, stand.WithFlags("--docker-host=unix://"+door.path))
	for _, name := range []string{"awake", "asleep", "later"} {
		app := s.MockApp(name, name+".test")
		app.Wake.MaxWait = fleet.Duration(3 * time.Second)
		s.Deploy(app)
	}
	sleepAll(t, s, "asleep", "later")
	traffic := s.StartLoad(stand.Load{Host: "awake.test", Rate: 50})
	door.set(true)
	answer := s.Get("asleep.test", "/")
	if answer.Status != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %s with Retry-After %q", answer.Status, answer.Body, answer.Header.Get("Retry-After"))
	}
	inTime(t, answer, 3*time.Second)
	if job, err := s.TryDeploy(s.MockApp("new", "new.test")); err == nil && job.State != fleet.JobFailed {
		t.Errorf("a deploy to an engine that does not answer: %+v", job)
	}
	if status := s.Service("awake").Status; status != fleet.StatusRunning {
		t.Errorf("awake is %s", status)
	}
	door.set(false)
	stand.Eventually(t, 60*time.Second, "sleepers wake again", func() error {
		for _, name := range []string{"asleep", "later"} {
			if answer := s.Get(name+".test", "/"); answer.Status != 200 {
				return fmt.Errorf("%s answers %d %s", name, answer.Status, answer.Body)
			}
		}
		return nil
	})
	traffic.Stop().MustBeClean(t)
}
