package engine

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"edgespawner/fleet"
)

// TestAfterAnyHistoryOfNodesTheWantedReplicasServe lets nodes fall silent, go
// dark, come back, be drained and resumed, while services are deployed, scaled,
// woken and put to sleep and the spawner is killed. At no time has an edge two
// replicas of one name or a node more than it can hold; at the end each service
// has exactly its wanted replicas, and nothing else stands anywhere.
func TestAfterAnyHistoryOfNodesTheWantedReplicasServe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		history := rapid.SliceOfN(rapid.Custom(drawNodeHappening), 1, 20).Draw(rt, "history")
		if failures := simulateNodes(t, history); len(failures) > 0 {
			rt.Fatalf("%s", strings.Join(failures, "\n"))
		}
	})
}

var nodeHappenings = []string{
	"silent", "silent", "dark", "dark", "speaks", "speaks", "drain", "resume", "deploy", "scale", "sleep", "wake", "request", "crash",
	"spawner restarted", "spawner killed",
}

func drawNodeHappening(rt *rapid.T) happening {
	most := rapid.SampledFrom([]int{1, 1000, 8000, 45000}).Draw(rt, "next")
	return happening{
		what: rapid.SampledFrom(nodeHappenings).Draw(rt, "what"), index: rapid.IntRange(0, 3).Draw(rt, "index"),
		next: time.Duration(rapid.IntRange(0, most).Draw(rt, "next")) * time.Millisecond,
	}
}

var simulatedNodes = []string{"a", "b", "c", "d"}

// nodeSimulation is one history of nodes in a world of its own.
type nodeSimulation struct {
	*world
	busy  sync.WaitGroup // what goes on beside the history
	image int            // of the newest deploy
}

func simulateNodes(t *testing.T, history []happening) (failures []string) {
	synctest.Test(t, func(t *testing.T) {
		recorded := &recordingTB{TB: t}
		defer func() {
			if reason := recover(); reason != nil && reason != errFailedNow {
				recorded.Errorf("panic: %v\n%s", reason, debug.Stack())
			}
			recorded.mu.Lock()
			defer recorded.mu.Unlock()
			failures = recorded.failures
			if len(failures) > 0 {
				failures = append(failures, recorded.log.String())
			}
		}()
		s := &nodeSimulation{world: newWorld(recorded), image: 1}
		if os.Getenv("ENGINE_TEST_LOG") != "" {
			s.log = slog.New(slog.NewTextHandler(recorded, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		s.docker.node.Name = simulatedNodes[0]
		for _, name := range simulatedNodes[1:] {
			s.cluster.add(name)
		}
		s.start()
		defer s.end()
		s.watchDoubles()
		s.deployed(s.simulated("web", 3))
		s.deployed(s.simulated("big", 4))
		s.asleep(s.simulated("cold", 2))
		for _, h := range history {
			s.log.Info("It happens", "what", h.String())
			s.happen(h)
			time.Sleep(h.next)
			s.notOverbooked()
		}
		s.mendNodes()
		s.busy.Wait()
		s.check()
	})
	return failures
}

// simulated is a service; big takes more than half of what is left of a node, so
// that one of its four replicas has nowhere to go while a node is away.
func (s *nodeSimulation) simulated(name string, replicas int) fleet.Spec {
	spec := s.spec(name, fmt.Sprintf("app:%d", s.image), replicas)
	spec.StopGrace = fleet.Duration(2 * time.Second)
	spec.Resources.MemoryMB = map[string]int{"web": 100, "big": 1500, "cold": 300}[name]
	return spec
}

// watchDoubles fails when an edge is told of two replicas of one name.
func (s *nodeSimulation) watchDoubles() {
	s.edge.set(func() {
		s.edge.seen = func(snapshot *fleet.Snapshot) {
			for _, routed := range snapshot.Services {
				seen := map[string]bool{}
				for _, e := range routed.Endpoints {
					if seen[e.Replica] {
						s.t.Errorf("snapshot %d has %s twice: %v", snapshot.Version, e.Replica, routed.Endpoints)
					}
					seen[e.Replica] = true
				}
			}
		}
	})
}

func (s *nodeSimulation) happen(h happening) {
	node := simulatedNodes[h.index]
	switch h.what {
	case "silent":
		s.on(node).silence(false)
	case "dark":
		s.on(node).silence(true)
	case "speaks":
		s.on(node).speak()
	case "drain":
		s.on(node).setDraining(true)
		if err := s.engine().DrainNode(s.ctx, node); err != nil {
			s.t.Errorf("drain: %v", err)
		}
	case "resume":
		s.on(node).setDraining(false)
		if err := s.engine().ResumeNode(s.ctx, node); err != nil {
			s.t.Errorf("resume: %v", err)
		}
	case "crash":
		s.crash(fmt.Sprintf("web-%d", h.index), 1)
	case "spawner restarted":
		s.someAnswer()
		s.restart()
	case "spawner killed":
		s.someAnswer()
		s.kill()
	default:
		s.ask(h)
	}
}

// someAnswer lets one node answer: a spawner that meets none at its start ends.
func (s *nodeSimulation) someAnswer() { s.on("a").speak() }

func (s *nodeSimulation) ask(h happening) {
	e, name := s.engine(), []string{"web", "big", "cold", "web"}[h.index]
	var err error
	switch h.what {
	case "deploy":
		s.image = s.image%5 + 1
		_, err = e.Deploy(s.ctx, s.simulated(name, map[string]int{"web": 3, "big": 4, "cold": 2}[name]), "tester", false)
	case "scale":
		_, err = e.Scale(s.ctx, name, h.index+1, "tester")
	case "sleep":
		_, err = e.Sleep(s.ctx, name, "tester")
	case "wake":
		_, err = e.Wake(s.ctx, name, "tester")
	case "request":
		s.busy.Go(func() {
			if _, err := e.WakeForRequest(s.ctx, name, "a request"); err != nil {
				s.log.Debug("A request failed", "error", err)
			}
		})
	}
	s.log.Debug("Asked for", "what", h.what, "error", err)
}

func (s *nodeSimulation) mendNodes() {
	for _, name := range simulatedNodes {
		s.on(name).speak()
		s.on(name).setDraining(false)
		if err := s.engine().ResumeNode(s.ctx, name); err != nil {
			s.t.Errorf("resume: %v", err)
		}
	}
}

func (s *nodeSimulation) check() {
	time.Sleep(time.Minute)
	for _, name := range []string{"web", "big", "cold"} {
		if _, err := s.request(name, 0); err != nil {
			s.t.Errorf("a request of %s is not answered: %v\n%s", name, err, s.picture())
		}
	}
	for deadline := time.Now().Add(10 * time.Minute); s.wrong() != "" && time.Now().Before(deadline); {
		time.Sleep(time.Second)
	}
	if why := s.wrong(); why != "" {
		s.t.Errorf("%s\n%s", why, s.picture())
	}
	s.notOverbooked()
}

// wrong says what is not as it is wanted; empty = nothing.
func (s *nodeSimulation) wrong() string {
	stored, err := s.store.Services().Load(s.ctx)
	if err != nil || len(stored) != 3 {
		return fmt.Sprintf("stored are %v, %v", stored, err)
	}
	containers := 0
	for _, d := range stored {
		containers += 2 * d.Replicas
		indexes := map[string]bool{}
		service, err := s.engine().Service(d.Name)
		if err != nil {
			return err.Error()
		}
		for _, c := range service.Containers {
			indexes[c.Name] = true
		}
		if len(indexes) != d.Replicas || len(service.Containers) != d.Replicas {
			return fmt.Sprintf("%s has %v, %d are wanted", d.Name, service.Containers, d.Replicas)
		}
		if service.Status != fleet.StatusRunning || len(s.endpoints(d.Name)) != d.Replicas {
			return fmt.Sprintf("%s is %s at %v", d.Name, service.Status, s.endpoints(d.Name))
		}
		for _, e := range s.endpoints(d.Name) {
			s.cluster.mu.Lock()
			app := s.cluster.answering(e.Addr.Addr())
			s.cluster.mu.Unlock()
			if app == nil || app.config.Labels[fleet.LabelRevision] != fmt.Sprint(d.Revision) {
				return fmt.Sprintf("%s is led to %v, where revision %d does not answer", d.Name, e, d.Revision)
			}
		}
	}
	if all := s.containers(); len(all) != containers {
		return fmt.Sprintf("%d containers are wanted, there are %d:\n%s", containers, len(all), strings.Join(slices.Clone(all), "\n"))
	}
	return ""
}
