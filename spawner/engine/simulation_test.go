package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
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

// TestAfterAnyHistoryOfFaultsTheWantedReplicasServe lets things go wrong at
// random: containers, the engine of containers, the edges, the spawner itself,
// users. When that has an end each service has exactly its wanted replicas, of one
// revision, and serves. It takes -rapid.checks=N for N histories, and -rapid.seed;
// with ENGINE_TEST_LOG set a history that fails tells what happened in it.
func TestAfterAnyHistoryOfFaultsTheWantedReplicasServe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		variant := rapid.SampledFrom(slices.Sorted(maps.Keys(variants))).Draw(rt, "variant")
		history := rapid.SliceOfN(rapid.Custom(drawHappening), 1, 25).Draw(rt, "history")
		if failures := simulate(t, variant, history); len(failures) > 0 {
			rt.Fatalf("%s", strings.Join(failures, "\n"))
		}
	})
}

// happening is one thing that goes wrong, or that a user does, and the time until the next.
type happening struct {
	what  string
	index int           // of a replica, or whatever number it needs
	lasts time.Duration // of what has an end
	next  time.Duration
}

func (h happening) String() string {
	return fmt.Sprintf("%s %d for %s, then %s", h.what, h.index, h.lasts, h.next)
}

func drawHappening(rt *rapid.T) happening {
	pause := func(label string) time.Duration {
		most := rapid.SampledFrom([]int{1, 50, 50, 200, 3000, 45000}).Draw(rt, label)
		return time.Duration(rapid.IntRange(0, most).Draw(rt, label)) * time.Millisecond
	}
	return happening{
		what: rapid.SampledFrom(happenings).Draw(rt, "what"), index: rapid.IntRange(0, 3).Draw(rt, "index"),
		lasts: pause("lasts"), next: pause("next"),
	}
}

var happenings = []string{
	"crash", "exit", "oom", "hang", "sicken", "cure", "stop by hand", "start by hand", "pause by hand", "remove app", "remove sandbox",
	"crash sandbox", "apps crash", "apps never ready", "apps sick", "apps fine", "deaf stream", "engine away", "engine restarted", "calls fail",
	"calls fail", "calls fail", "engine restarted", "spawner killed", "remove sandbox", "crash", "apps never ready", "apps fine", // twice as likely: most of what was found came of these
	"edge slow", "edge refuses", "request", "sleep", "wake", "scale", "deploy", "restart", "spawner restarted", "spawner killed",
}

// simulation is one history in a world of its own.
type simulation struct {
	*world
	busy  sync.WaitGroup // what goes on beside the history
	image int            // of the newest deploy
	vary  func(*fleet.Spec)
}

// variants are the kinds of service that a history befalls.
var variants = map[string]func(*fleet.Spec){
	"plain":       func(*fleet.Spec) {},
	"stop-first":  func(s *fleet.Spec) { s.Update.Order = fleet.StopFirst },
	"dozes":       func(s *fleet.Spec) { s.Sleep.Mode = fleet.SleepPause },
	"deep":        func(s *fleet.Spec) { s.Sleep.Mode = fleet.SleepDeep },
	"host port":   func(s *fleet.Spec) { s.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}} },
	"few retries": func(s *fleet.Spec) { s.RestartLimit.Attempts = 2 },
	"window": func(s *fleet.Spec) {
		s.RestartLimit = fleet.RestartLimit{Attempts: 10, Window: fleet.Duration(time.Minute)}
	},
}

// simulate returns what is wrong at the end of a history.
func simulate(t *testing.T, variant string, history []happening) (failures []string) {
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
		s := &simulation{world: newWorld(recorded), image: 1, vary: variants[variant]}
		if os.Getenv("ENGINE_TEST_LOG") != "" {
			s.log = slog.New(slog.NewTextHandler(recorded, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		s.start()
		defer s.end()
		s.deployed(s.simulated(2))
		for _, h := range history {
			s.log.Info("It happens", "what", h.String())
			s.happen(h)
			time.Sleep(h.next)
		}
		s.busy.Wait()
		s.mendWorld()
		time.Sleep(time.Minute) // lives that are to end by themselves have ended
		s.check()
	})
	return failures
}

func (s *simulation) simulated(replicas int) fleet.Spec {
	spec := s.spec("web", fmt.Sprintf("app:%d", s.image), replicas)
	spec.StopGrace = fleet.Duration(2 * time.Second)
	s.vary(&spec)
	return spec
}

func (s *simulation) beside(what func()) { s.busy.Go(what) }

// happen lets one thing happen.
func (s *simulation) happen(h happening) {
	app := fmt.Sprintf("web-%d", h.index)
	for _, b := range s.appsOf("web") { // whatever it is called after a deploy
		if strings.HasPrefix(b, app) {
			app = b
		}
	}
	switch h.what {
	case "crash":
		s.crash(app, 1)
	case "exit":
		s.crash(app, 0)
	case "oom":
		s.outOfMemory(app)
	case "hang":
		s.hang(app)
	case "sicken":
		s.sicken(app)
	case "cure":
		s.cure(app)
	case "stop by hand":
		s.stopByHand(app)
	case "start by hand":
		s.startByHand(app)
	case "pause by hand":
		s.pauseByHand(app)
	case "remove app":
		s.removeByHand(app)
	case "remove sandbox":
		s.removeByHand(app + ".net")
	case "crash sandbox":
		s.crash(app+".net", 1)
	default:
		s.happenAround(h)
	}
}

func (s *simulation) happenAround(h happening) {
	fail := func(kind fleet.Kind) func(string, string) error {
		n := 0
		return func(verb, name string) error {
			if n++; n%(h.index+2) == 0 && verb != "list" {
				return fleet.Errorf(kind, "%s of %s fails", verb, name)
			}
			return nil
		}
	}
	for_ := func(begin, end func()) {
		begin()
		s.beside(func() { time.Sleep(h.lasts); end() })
	}
	switch h.what {
	case "apps crash":
		s.behaveAll(behaviour{exits: true, exitAfter: h.lasts, exitCode: h.index})
	case "apps never ready":
		s.behaveAll(behaviour{never: true})
	case "apps sick":
		s.behaveAll(behaviour{sick: true})
	case "apps fine":
		s.behaveAll(behaviour{stopTakes: time.Duration(h.index) * 100 * time.Millisecond})
	case "deaf stream":
		s.docker.breakStreams()
	case "engine away":
		s.away(h.lasts, false)
	case "engine restarted":
		s.away(h.lasts, true)
	case "calls fail":
		for_(func() {
			s.flaw(fail([]fleet.Kind{fleet.Unavailable, fleet.Conflict, fleet.Internal, fleet.Timeout}[h.index]))
		}, func() { s.flaw(nil) })
	case "edge slow":
		for_(func() { s.edge.set(func() { s.edge.delay = 3 * time.Second }) }, func() { s.edge.set(func() { s.edge.delay = time.Millisecond }) })
	case "edge refuses":
		for_(func() { s.edge.set(func() { s.edge.refuse = fleet.Errorf(fleet.Invalid, "refused") }) }, func() { s.edge.set(func() { s.edge.refuse = nil }) })
	default:
		s.ask(h)
	}
}

// ask does what users do; whether it succeeds is of no interest.
func (s *simulation) ask(h happening) {
	e := s.engine()
	switch h.what {
	case "request":
		s.beside(func() {
			if _, err := e.WakeForRequest(s.ctx, "web", "a request"); err != nil {
				s.log.Debug("A request failed", "error", err)
			}
		})
	case "sleep":
		_, err := e.Sleep(s.ctx, "web", "tester")
		s.log.Debug("Asked for", "what", h.what, "error", err)
	case "wake":
		_, err := e.Wake(s.ctx, "web", "tester")
		s.log.Debug("Asked for", "what", h.what, "error", err)
	case "scale":
		_, err := e.Scale(s.ctx, "web", h.index+1, "tester")
		s.log.Debug("Asked for", "what", h.what, "error", err)
	case "deploy":
		s.image = s.image%5 + 1
		_, err := e.Deploy(s.ctx, s.simulated(h.index+1), "tester", false)
		s.log.Debug("Asked for", "what", h.what, "error", err)
	case "restart":
		_, err := e.Restart(s.ctx, "web", "tester")
		s.log.Debug("Asked for", "what", h.what, "error", err)
	case "spawner restarted":
		s.edgeIsFine() // a process whose edges refuse all is not what is tried here
		s.flaw(nil)
		s.restart()
	case "spawner killed":
		s.edgeIsFine()
		s.flaw(nil)
		s.kill()
	}
}

func (s *simulation) edgeIsFine() {
	s.edge.set(func() { s.edge.refuse, s.edge.delay = nil, time.Millisecond })
}

func (s *simulation) behaveAll(how behaviour) {
	for n := range 5 {
		s.behave(fmt.Sprintf("app:%d", n+1), how)
	}
}

// mendWorld ends whatever may still be wrong outside the spawner.
func (s *simulation) mendWorld() {
	s.behaveAll(behaviour{})
	s.flaw(nil)
	s.edgeIsFine()
	s.docker.mu.Lock()
	defer s.docker.mu.Unlock()
	for _, b := range s.docker.boxes {
		b.hung, b.sick = false, false
	}
}

// check fails unless the service is as it is wanted, by itself but for one request
// that wakes it if it sleeps or has failed.
func (s *simulation) check() {
	const (
		jobsEnd  = 5 * time.Minute  // those that were asked for
		recovery = 90 * time.Second // the longest back-off, and a look that comes every half minute
	)
	deadline := time.Now().Add(jobsEnd)
	for s.jobsRun() && time.Now().Before(deadline) {
		time.Sleep(time.Second)
	}
	if s.jobsRun() {
		s.t.Errorf("jobs do not come to an end\n%s", s.picture())
	}
	if _, err := s.request("web", 0); err != nil {
		s.t.Errorf("a request is not answered: %v\n%s", err, s.picture())
	}
	wrong := func() string {
		stored, err := s.store.Services().Load(s.ctx)
		if err != nil || len(stored) != 1 {
			return fmt.Sprintf("stored are %v, %v", stored, err)
		}
		if why := s.unsettled("web", stored[0].Revision, stored[0].Replicas); why != "" {
			return fmt.Sprintf("%d replicas of revision %d are wanted: %s", stored[0].Replicas, stored[0].Revision, why)
		}
		for _, endpoint := range s.endpoints("web") {
			conn, ok := s.docker.dial(addressOf(endpoint))
			if !ok {
				return fmt.Sprintf("nothing answers at %v", endpoint)
			}
			conn.close()
		}
		if status := s.status("web"); status != fleet.StatusRunning {
			return fmt.Sprintf("the status is %s", status)
		}
		return ""
	}
	for deadline = time.Now().Add(recovery); wrong() != "" && time.Now().Before(deadline); {
		time.Sleep(time.Second)
	}
	if why := wrong(); why != "" {
		s.t.Errorf("%s\n%s", why, s.picture())
	}
}

func (s *simulation) jobsRun() bool {
	unfinished, err := s.store.Jobs().List(s.ctx, "", true, 0)
	return err != nil || len(unfinished) > 0
}

// appsOf are the names of a service's apps.
func (w *world) appsOf(service string) []string {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	var names []string
	for _, b := range w.docker.boxes {
		if b.joined != nil && b.config.Labels[fleet.LabelService] == service {
			names = append(names, b.name)
		}
	}
	slices.Sort(names)
	return names
}

// startByHand starts an app behind the engine's back.
func (w *world) startByHand(name string) {
	w.docker.mu.Lock()
	b := w.docker.named(name)
	w.docker.mu.Unlock()
	if b != nil {
		if err := w.docker.start(w.ctx, b.id); err != nil {
			w.log.Debug("It cannot be started by hand", "container", name, "error", err)
		}
	}
}

// pauseByHand pauses an app behind the engine's back.
func (w *world) pauseByHand(name string) {
	w.docker.mu.Lock()
	b := w.docker.named(name)
	w.docker.mu.Unlock()
	if b != nil {
		if err := w.docker.pause(b.id); err != nil {
			w.log.Debug("It cannot be paused by hand", "container", name, "error", err)
		}
	}
}

var errFailedNow = fmt.Errorf("the history failed")

// recordingTB keeps the failures of a history, so that rapid can look for a shorter one.
type recordingTB struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	log      bytes.Buffer
}

func (r *recordingTB) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

func (r *recordingTB) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }
func (r *recordingTB) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r *recordingTB) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(errFailedNow)
}
func (r *recordingTB) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}
