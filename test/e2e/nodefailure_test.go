//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/lab"
	"edgespawner/test/stand"
)

// givenUp is how soon after its silence a node must be down.
const givenUp = 10 * time.Second

// cluster is an installation on three joined engines, with a service that has
// a replica on each of them and counts what it is asked.
func cluster(t *testing.T, edges int) (*stand.Stand, *stand.Collector) {
	t.Helper()
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: 3, Swarm: true}), stand.WithEdges(edges))
	collector := s.StartCollector()
	s.Deploy(counted(s, collector, "web", 3))
	if nodes := nodesOf(s.Service("web")); len(nodes) != 3 {
		t.Fatalf("the replicas are on %v, want one on each node", nodes)
	}
	return s, collector
}

// pinned is a mock-app for one node alone.
func pinned(s *stand.Stand, name, node string) fleet.Spec {
	spec := s.MockApp(name, name+".test")
	spec.Placement.Constraints = []fleet.Constraint{fleet.Constraint("node==" + node)}
	return spec
}

// pace is how long a deploy, a sleep and a wake of a service on node-1 take.
type pace struct{ deploy, sleep, wake time.Duration }

func (p pace) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("deploy %v, sleep %v, wake %v", round(p.deploy), round(p.sleep), round(p.wake))
}

func paceOf(t *testing.T, s *stand.Stand, name string) pace {
	t.Helper()
	timed := func(do func()) time.Duration {
		began := time.Now()
		do()
		return time.Since(began)
	}
	return pace{
		deploy: timed(func() { s.Deploy(pinned(s, name, "node-1")) }),
		sleep:  timed(func() { s.Sleep(name) }),
		wake:   timed(func() { s.Get(name+".test", "/").MustBe(200) }),
	}
}

// worksBeside deploys, sleeps and wakes a service on node-1 while another node is
// sick. That may take some times as long as while all was well, since machines are
// noisy, but not as long as if it had waited for the sick one.
func (p pace) worksBeside(t *testing.T, s *stand.Stand, name string) {
	t.Helper()
	now := paceOf(t, s, name)
	t.Logf("beside a sick node: %v; while all was well: %v", now, p)
	for what, took := range map[string]struct{ now, most time.Duration }{
		"a deploy": {now.deploy, 3*p.deploy + 5*time.Second},
		"a sleep":  {now.sleep, 3*p.sleep + 5*time.Second},
		"a wake":   {now.wake, 3*p.wake + time.Second},
	} {
		if took.now > took.most {
			t.Errorf("%s on node-1 took %v, want at most %v", what, took.now.Round(time.Millisecond), took.most.Round(time.Millisecond))
		}
	}
}

const (
	// prompt is how long no request takes that was not in hand of a machine that is lost.
	prompt = 5 * time.Second
	// givenUpBy is what the kernel of an edge takes at most to give up a
	// connection: with its tcp_retries2 of 5 some 13 to 25 s, and a dial in vain.
	givenUpBy = 35 * time.Second
	// patient is a client that outwaits it.
	patient = 60 * time.Second
)

// mustHaveFreed accepts, of the requests that were in the hands of something that
// went without a packet, that they waited for the edge's kernel. Nobody waits for
// longer, and none failed, beside POSTs that were refused: nobody can know what
// became of them. Of acknowledged ones, which nothing sends again, a load of short
// answers has at most one.
func mustHaveFreed(t *testing.T, report stand.Report, inHand int) {
	t.Helper()
	waited := report.LongerThan(prompt)
	t.Logf("%d requests waited, the longest for %v", waited, report.Longest().Round(time.Millisecond))
	if waited > inHand {
		t.Errorf("%d requests waited for longer than %v, want at most the %d that were in hand", waited, prompt, inHand)
	}
	if hang := report.LongerThan(givenUpBy); hang > 1 || report.Errors > hang {
		t.Errorf("%d requests failed and %d waited for longer than %v:\n%s", report.Errors, hang, givenUpBy, strings.Join(report.Failures, "\n"))
	}
	report.MustHaveRunOnce(t)
}

// containersOf are the names of the fleet's apps and sandboxes on a node, running or not.
func containersOf(t *testing.T, s *stand.Stand, node *lab.Node) []string {
	t.Helper()
	said := dockerOn(t, node, "ps", "-a", "--format", "{{.Names}}", "--filter", "label="+fleet.LabelFleet+"="+s.FleetID, "--filter", "label="+fleet.LabelService)
	names := strings.Fields(said)
	slices.Sort(names)
	return names
}

// mustTell fails the test unless an event of a node says these words.
func mustTell(t *testing.T, s *stand.Stand, words string) {
	t.Helper()
	var said []string
	for _, event := range s.Events("", fleet.EventNode) {
		if strings.Contains(event.Message, words) {
			return
		}
		said = append(said, event.Message)
	}
	t.Errorf("no event says %q:\n%s", words, strings.Join(said, "\n"))
}

// awaitWholeOff waits until a service has all its replicas, and none on a node.
func awaitWholeOff(t *testing.T, s *stand.Stand, service string, node *lab.Node) {
	t.Helper()
	stand.Eventually(t, 60*time.Second, service+" is whole, and not on "+node.Name, func() error {
		if err := whole(s, service); err != nil {
			return err
		}
		if nodes := nodesOf(s.Service(service)); nodes[node.Name] > 0 {
			return fmt.Errorf("it is on %v", nodes)
		}
		return nil
	})
}

// healAndAwaitSwept gives a node its power back, and waits until what is left there is removed.
func healAndAwaitSwept(t *testing.T, s *stand.Stand, node *lab.Node) {
	t.Helper()
	s.Break("heal "+node.Name, node.Heal)
	s.WaitNode(node.Name, 60*time.Second, fleet.NodeReady)
	stand.Eventually(t, 60*time.Second, "what is left on "+node.Name+" is removed", func() error {
		if left := containersOf(t, s, node); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
}

func TestANodeWithoutPowerIsGivenUpReplacedAndSweptWhenItComesBack(t *testing.T) {
	s, collector := cluster(t, 1)
	calm := paceOf(t, s, "calm")
	lost := s.Lab.Nodes[2]
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector, Limit: patient})
	s.KillNode(lost) // a manager of the swarm too
	s.WaitNode(lost.Name, givenUp, fleet.NodeDown)
	awaitWholeOff(t, s, "web", lost)
	calm.worksBeside(t, s, "beside")

	healAndAwaitSwept(t, s, lost)
	mustHaveFreed(t, traffic.Stop(), 3)
	if err := whole(s, "web"); err != nil {
		t.Error(err)
	}
}

func TestADeployAndAScaleGoRoundANodeThatLosesItsPower(t *testing.T) {
	s, _ := cluster(t, 1)
	lost := s.Lab.Nodes[2]
	slow := withEnv(s.MockApp("slow", "slow.test"), "READY_DELAY", "8s")
	slow.Replicas = 6
	steps := followSteps(t, s, "slow")
	deploy := s.StartDeploy(slow)
	steps.await("start slow-0") // the first of it is up: the others are on their way
	s.KillNode(lost)
	scale, err := s.Client.Scale(t.Context(), "web", 6)
	if err != nil {
		t.Fatal(err)
	}
	for what, accepted := range map[string]fleet.Accepted{"deploy": deploy, "scale": scale} {
		if job := s.WaitJob(accepted.JobID); job.State != fleet.JobSucceeded {
			t.Errorf("the %s %s: %s", what, job.State, job.Error)
		}
	}
	s.WaitNode(lost.Name, givenUp, fleet.NodeDown)
	awaitWholeOff(t, s, "slow", lost)
	awaitWholeOff(t, s, "web", lost)
	healAndAwaitSwept(t, s, lost)
}

func TestASilentEngineWhoseReplicasServeKeepsItsRoutes(t *testing.T) {
	for _, c := range []struct {
		what string
		deed func(context.Context, *lab.Node) error
		heal func(context.Context, *lab.Node) error
	}{
		{"frozen", func(_ context.Context, n *lab.Node) error { return n.Freeze() }, func(_ context.Context, n *lab.Node) error { return n.Thaw() }},
		{"cut off", func(ctx context.Context, n *lab.Node) error { return n.Cut(ctx, lab.CutEngine) }, func(ctx context.Context, n *lab.Node) error { return n.Mend(ctx) }},
	} {
		// Engines of their own for each: one that was frozen may be taken for gone by
		// the others of its swarm for a while, and its addresses with it.
		t.Run(c.what, func(t *testing.T) {
			s, collector := cluster(t, 1)
			calm := paceOf(t, s, "calm")
			sick := s.Lab.Nodes[1]
			before := containersOf(t, s, sick)
			traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
			s.Break(c.what, func(ctx context.Context) error { return c.deed(ctx, sick) })
			s.WaitNode(sick.Name, givenUp, fleet.NodeUnmanaged)
			calm.worksBeside(t, s, "beside")
			stand.Always(t, time.Second, "its replicas keep their routes", func() error { return stillOn(s, sick.Name) })
			traffic.Stop().MustBeClean(t)
			s.Break("heal", func(ctx context.Context) error { return c.heal(ctx, sick) })
			s.WaitNode(sick.Name, 60*time.Second, fleet.NodeReady)
			if after := containersOf(t, s, sick); !slices.Equal(before, after) {
				t.Errorf("the node has %v, want what it had: %v", after, before)
			}
		})
	}
}

// stillOn says whether web still counts its replica on a node as ready.
func stillOn(s *stand.Stand, node string) error {
	detail := s.Service("web")
	if detail.Ready() != 3 || nodesOf(detail)[node] != 1 {
		return fmt.Errorf("%d replicas are ready, on %v", detail.Ready(), nodesOf(detail))
	}
	return nil
}

func TestAnEngineThatIsKilledAndStartedAgainCostsNoRequest(t *testing.T) {
	s, collector := cluster(t, 1)
	calm := paceOf(t, s, "calm")
	sick := s.Lab.Nodes[1]
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	s.Break("kill an engine", func(context.Context) error { return sick.KillEngine() })
	s.WaitNode(sick.Name, givenUp, fleet.NodeUnmanaged)
	calm.worksBeside(t, s, "beside")
	s.Break("start it", sick.StartEngine) // a new dockerd stops what the one before has started
	s.WaitNode(sick.Name, 60*time.Second, fleet.NodeReady)
	stand.Eventually(t, 60*time.Second, "web is whole", func() error { return whole(s, "web") })
	traffic.Stop().MustBeCleanButRefused(t)
}

func TestASlowEngineDelaysNobodyElseAndGetsNothingNew(t *testing.T) {
	s, collector := cluster(t, 1)
	calm := paceOf(t, s, "calm")
	slow := s.Lab.Nodes[1]
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	var restore func() error
	s.Break("slow an engine down", func(ctx context.Context) (err error) {
		restore, err = slow.Slow(ctx, 2*time.Second)
		return err
	})
	calm.worksBeside(t, s, "beside")
	s.WaitNode(slow.Name, givenUp, fleet.NodeUnmanaged)
	calm.worksBeside(t, s, "beside-it")
	two := s.MockApp("two", "two.test")
	two.Replicas = 2
	began := time.Now()
	s.Deploy(two)
	if took, most := time.Since(began), 6*calm.deploy+5*time.Second; took > most {
		t.Errorf("a deploy of two replicas took %v, want at most %v", took, most)
	}
	if nodes := nodesOf(s.Service("two")); nodes[slow.Name] > 0 {
		t.Errorf("new replicas are on %v", nodes)
	}
	if err := restore(); err != nil {
		t.Error(err)
	}
	s.WaitNode(slow.Name, 60*time.Second, fleet.NodeReady)
	s.Deploy(pinned(s, "slow", slow.Name))
	traffic.Stop().MustBeClean(t)
}

func TestAFullDiskFailsWhatNeedsItAndDelaysNobodyElse(t *testing.T) {
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: 2, Swarm: true, DiskMB: map[string]int{"node-2": 300}}))
	full := s.Lab.Nodes[1]
	calm := paceOf(t, s, "calm")
	s.Break("fill a disk", func(context.Context) error { return full.Fill() })
	calm.worksBeside(t, s, "beside")
	wide := s.MockApp("wide", "wide.test")
	wide.Replicas = 4
	s.Deploy(wide)
	if nodes := nodesOf(s.Service("wide")); nodes[full.Name] > 0 {
		t.Errorf("on the full disk are replicas: %v", nodes)
	}
	job, err := s.TryDeploy(pinned(s, "full", full.Name))
	if err != nil || job.State != fleet.JobFailed || !strings.Contains(job.Error, "no space left on device") {
		t.Errorf("a deploy on a full disk: %s %q, %v", job.State, job.Error, err)
	}
	calm.worksBeside(t, s, "beside-it")
	s.Break("free the disk", func(context.Context) error { return full.Free() })
	s.Deploy(pinned(s, "full", full.Name))
	s.Get("full.test", "/").MustBe(200)
}

func TestTheSpawnersOwnNodeIsLostAndAnEdgeElsewhereServesOn(t *testing.T) {
	s, collector := cluster(t, 2)
	traffic := s.StartLoad(stand.Load{Host: "web.test", Edge: s.Edges[1], Collector: collector, Limit: patient})
	s.KillNode(s.Lab.Nodes[0])
	stand.Always(t, 15*time.Second, "the edge serves", func() error { return mayFailInHand(traffic.SoFar()) })
	report := traffic.Stop()
	t.Log(report)
	if err := mayFailInHand(report); err != nil {
		t.Error(err)
	}
	report.MustHaveRunOnce(t)
}

// mayFailInHand accepts that POSTs which the lost machine had in hand failed: with the
// spawner away nobody refuses them with a 503. A GET is answered by another replica,
// unless the machine had acknowledged it.
func mayFailInHand(report stand.Report) error {
	const inHand = 3
	gets := report.Errors - report.FailedPosts
	if gets > min(1, report.LongerThan(givenUpBy)) || report.FailedPosts > min(inHand, report.LongerThan(prompt)) {
		return fmt.Errorf("%s\n%s", report, strings.Join(report.Failures, "\n"))
	}
	return nil
}

func TestWhenMostNodesFallSilentNothingIsChangedAndSaidSo(t *testing.T) {
	s, _ := cluster(t, 1)
	before := s.Containers("web", "")
	for _, node := range s.Lab.Nodes[1:] {
		s.Break("cut "+node.Name, func(ctx context.Context) error { return node.Cut(ctx, lab.CutAll) })
	}
	for _, node := range s.Lab.Nodes[1:] {
		s.WaitNode(node.Name, givenUp, fleet.NodeSilent, fleet.NodeSuspected)
	}
	// The default is to give a node up 5 s after its silence.
	stand.Always(t, 7*time.Second, "nothing is given up", func() error {
		for _, node := range s.Lab.Nodes {
			if s.Node(node.Name).State == fleet.NodeDown {
				return fmt.Errorf("%s is down", node.Name)
			}
		}
		return nil
	})
	mustTell(t, s, "More than half of the nodes fell silent at once")
	for _, node := range s.Lab.Nodes[1:] {
		s.Break("mend "+node.Name, node.Mend)
		s.WaitNode(node.Name, 60*time.Second, fleet.NodeReady)
	}
	stand.Eventually(t, 90*time.Second, "web is whole", func() error { return whole(s, "web") })
	if after := s.Containers("web", ""); !slices.Equal(slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(after))) {
		t.Errorf("the containers are %v, and were %v", after, before)
	}
}

func TestANodeThatFlapsKeepsWhatItHasAndGetsNothingNewForAWhile(t *testing.T) {
	s, _ := cluster(t, 1)
	flapping := s.Lab.Nodes[2]
	before := containersOf(t, s, flapping)
	for range 3 {
		s.Break("cut", func(ctx context.Context) error { return flapping.Cut(ctx, lab.CutEngine) })
		s.WaitNode(flapping.Name, givenUp, fleet.NodeUnmanaged)
		s.Break("mend", flapping.Mend)
		s.WaitNode(flapping.Name, 60*time.Second, fleet.NodeReady)
	}
	if after := containersOf(t, s, flapping); !slices.Equal(before, after) {
		t.Errorf("the node has %v, want what it had: %v", after, before)
	}
	if job, err := s.TryDeploy(pinned(s, "new", flapping.Name)); err != nil || job.State != fleet.JobFailed || !strings.Contains(job.Error, "back so often") {
		t.Errorf("a deploy on a node that flaps: %+v, %v", job, err)
	}
}

func TestASecondSpawnerThatComesByAnotherEngineStandsBy(t *testing.T) {
	s, collector := cluster(t, 1)
	before := s.Containers("web", "")
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	second := s.Spawner.Successor("second")
	// It looks at the fleet from another of its engines.
	second.SetFlag("--docker-host=unix://" + s.Lab.Nodes[1].Socket())
	second.SetFlag("--node-name=node-2")
	second.SetFlag("--api-address=127.0.0.1:0")
	second.SetFlag("--fallback-address=127.0.0.1:0")
	second.Start()
	stand.Eventually(t, 30*time.Second, "the second one stands by or refuses", func() error {
		if log := second.Log(); !strings.Contains(log, "another spawner of this fleet") {
			return fmt.Errorf("it says:\n%s", second.LogTail(5))
		}
		return nil
	})
	s.Deploy(counted(s, collector, "beside", 1))
	traffic.Stop().MustBeClean(t)
	if after := s.Containers("web", ""); !slices.Equal(slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(after))) {
		t.Errorf("the containers are %v, and were %v", after, before)
	}
}

func TestAStandbyTakesOverWithTheNodesWhenTheSpawnerDies(t *testing.T) {
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: 2, Swarm: true}))
	collector := s.StartCollector()
	s.Deploy(counted(s, collector, "web", 2))
	s.Deploy(pinned(s, "nap", "node-2"))
	s.Sleep("nap")
	before := s.Containers("web", "")
	first, second := s.Spawner, s.Spawner.Successor("second")
	second.StateDir = first.StateDir // a database and its key that both have, as on a shared disk
	second.SetFlag("--state-dir=" + second.StateDir)
	second.Start()
	mustStandBy(t, second, first)

	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	first.Kill()
	s.Spawner, s.Client = second, nil
	second.WaitReady()
	s.Edges[0].WaitFed()
	for _, node := range s.Lab.Nodes {
		s.WaitNode(node.Name, 60*time.Second, fleet.NodeReady)
	}
	stand.Eventually(t, 60*time.Second, "web is whole", func() error { return whole(s, "web") })
	s.Get("nap.test", "/").MustBe(200)
	s.Deploy(pinned(s, "fresh", "node-2"))
	s.Get("fresh.test", "/").MustBe(200)

	first.Start() // as whoever looks after it does
	mustStandBy(t, first, second)
	traffic.Stop().MustBeClean(t)
	if after := s.Containers("web", ""); !slices.Equal(slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(after))) {
		t.Errorf("the containers are %v, and were %v", after, before)
	}
	if nodes := nodesOf(s.Service("web")); len(nodes) != 2 {
		t.Errorf("web is on %v", nodes)
	}
}

// mustStandBy waits until a spawner stands by, and looks whether it and the one at work stay so.
func mustStandBy(t *testing.T, standby, atWork *stand.Spawner) {
	t.Helper()
	stand.Eventually(t, 30*time.Second, "a spawner stands by", func() error {
		if !strings.Contains(standby.Log(), "Standing by") {
			return fmt.Errorf("it says:\n%s", standby.LogTail(5))
		}
		return nil
	})
	stand.Always(t, 3*time.Second, "one stands by and the other is at work", func() error {
		if !standby.Running() || !atWork.Running() {
			return fmt.Errorf("the one that stands by runs: %v, the one at work: %v\n%s", standby.Running(), atWork.Running(), atWork.LogTail(5))
		}
		return nil
	})
}
