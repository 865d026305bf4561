package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func (w *world) specWith(name string, volumes ...fleet.Volume) fleet.Spec {
	spec := w.spec(name, "app:1", 2)
	spec.Volumes = volumes
	return spec
}

// foreign makes a volume that is not the fleet's.
func (w *world) foreign(node, name string) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	w.on(node).volumes[name] = false
}

// volumes are those of a node.
func (w *world) volumes(node string) []string {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	return slices.Sorted(maps.Keys(w.on(node).volumes))
}

func TestReplicasGoWhereTheVolumeIsThatTheyWriteTo(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.foreign("b", "data")
		w.deployed(w.specWith("db", fleet.Volume{Name: "data", Path: "/data"}))
		if got := fmt.Sprint(w.spread("db")); got != "map[b:2]" {
			t.Errorf("it stands on %s", got)
		}
		w.deployed(w.specWith("cache", fleet.Volume{Name: "new", Path: "/data"}))
		if got := w.spread("cache"); len(got) != 1 {
			t.Errorf("one that writes to a new volume stands on %v", got)
		}
		w.succeeded(w.engine().Scale(w.ctx, "cache", 4, "tester"))
		if got := w.spread("cache"); len(got) != 1 {
			t.Errorf("scaled, it stands on %v", got)
		}
	})
}

func TestAServiceFindsItsVolumeAgainAfterItWasRemoved(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.specWith("db", fleet.Volume{Name: "data", Path: "/data"})
		spec.Placement.Constraints = []fleet.Constraint{"node==b"}
		w.deployed(spec)
		w.succeeded(w.engine().Remove(w.ctx, "db", "tester"))
		spec.Placement.Constraints = nil
		w.deployed(spec)
		if got := fmt.Sprint(w.spread("db")); got != "map[b:2]" {
			t.Errorf("it stands on %s", got)
		}
	})
}

func TestVolumesGoOnlyWhenAskedForAndOnlyThoseOfTheServiceAlone(t *testing.T) {
	overNodes(t, []string{"a"}, func(w *world) {
		w.foreign("a", "foreign")
		volumes := []fleet.Volume{{Name: "own", Path: "/own"}, {Name: "shared", Path: "/shared"}, {Name: "foreign", Path: "/foreign"}}
		w.deployed(w.specWith("db", volumes...))
		w.deployed(w.specWith("other", volumes[1]))
		w.succeeded(w.engine().Remove(w.ctx, "db", "tester"))
		if got := fmt.Sprint(w.volumes("a")); got != "[foreign own shared]" {
			t.Fatalf("after a plain remove %s are left", got)
		}
		w.deployed(w.specWith("db", volumes...))
		job := w.done(w.engine().RemoveWithVolumes(w.ctx, "db", "tester"))
		if got := fmt.Sprint(w.volumes("a")); got != "[foreign shared]" || job.State != fleet.JobSucceeded {
			t.Errorf("%s: %s are left", job.State, got)
		}
		if !strings.Contains(fmt.Sprint(job.Warnings), "shared is kept: other uses it too") {
			t.Errorf("warnings: %v", job.Warnings)
		}
	})
}

func TestARunningImageIsNotPlacedOnANodeOfAnotherPlatform(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.cluster.mu.Lock()
		w.on("a").node.Platform, w.on("b").node.Platform = "linux/arm64", "linux/amd64"
		for _, d := range []string{"a", "b"} {
			image := w.on(d).images["app:1"]
			image.Platform = "linux/amd64"
			w.on(d).images["app:1"], w.on(d).images[image.ID] = image, image
		}
		w.cluster.mu.Unlock()
		w.restart()
		w.deployed(w.spec("web", "app:1", 2))
		if got := fmt.Sprint(w.spread("web")); got != "map[b:2]" {
			t.Errorf("it stands on %s", got)
		}
	})
}

func TestWhyTellsThatReplicasFindNoPlaceUntilTheyDo(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.spec("web", "app:1", 2)
		spec.Placement.Constraints = []fleet.Constraint{"zone==eu"}
		w.fitsNowhere(spec, "web cannot be placed: 2 nodes: zone==eu does not hold")
		spec.Placement = fleet.Placement{}
		large := withMemory(spec, 3000)
		large.Replicas = 3
		if job := w.done(w.engine().Deploy(w.ctx, large, "tester", false)); job.Error != "web cannot be placed: after 2 of 3 replicas, 2 nodes: 1904 MB short" {
			t.Errorf("three of them: %s", job.Error)
		}
		w.deployed(spec)
		if job := w.done(w.engine().Deploy(w.ctx, withMemory(spec, 3000), "tester", false)); job.State != fleet.JobSucceeded {
			t.Errorf("one on each node of 4096 MB: %s", job.Error)
		}
		if job := w.done(w.engine().Scale(w.ctx, "web", 3, "tester")); !strings.Contains(job.Error, "2 nodes: 1904 MB short") {
			t.Errorf("a third: %s", job.Error)
		}
		if got := w.why("web"); !strings.Contains(got, "web cannot be placed: 2 nodes: 1904 MB short") {
			t.Errorf("why: %s", got)
		}
		w.succeeded(w.engine().Scale(w.ctx, "web", 1, "tester"))
		if got := w.why("web"); strings.Contains(got, "placed") {
			t.Errorf("why, once nothing wants a place: %s", got)
		}
	})
}

// fitsNowhere deploys what no node takes: the job, why and a plan say the reason,
// and nothing is left on a node.
func (w *world) fitsNowhere(spec fleet.Spec, reason string) {
	w.t.Helper()
	if _, err := w.engine().Plan(w.ctx, spec, false); err == nil || err.Error() != reason {
		w.t.Errorf("the plan says %v", err)
	}
	began := time.Now()
	job := w.done(w.engine().Deploy(w.ctx, spec, "tester", false))
	if job.State != fleet.JobFailed || job.Error != reason || len(job.Steps) != 1 || job.Steps[0].Verb != "place" || job.Steps[0].Attempts > 1 {
		w.t.Errorf("the job %s: %s\n%s", job.State, job.Error, describeSteps(job))
	}
	if took := time.Since(began); took > time.Second {
		w.t.Errorf("that was tried for %s, and nothing can have changed", took)
	}
	if why := w.why(spec.Name); !strings.Contains(why, reason) || strings.Count(why, "cannot be placed") != 1 || w.status(spec.Name) != fleet.StatusFailed {
		w.t.Errorf("%s, why: %s", w.status(spec.Name), why)
	}
	if left := w.containers(); len(left) > 0 {
		w.t.Errorf("left: %v", left)
	}
}

func TestADeployThatFitsOnlyWhereANodeIsSilentWaitsForIt(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.on("b").silence(false)
		w.until("its silence is known", func() bool { return w.nodeState("b") != fleet.NodeReady })
		spec := w.spec("web", "app:1", 1)
		spec.Placement.Constraints = []fleet.Constraint{"node==b"}
		accepted, err := w.engine().Deploy(w.ctx, spec, "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		w.on("b").speak()
		if job := w.wait(accepted); job.State != fleet.JobSucceeded {
			t.Errorf("the deploy %s: %s", job.State, job.Error)
		}
	})
}

func withMemory(spec fleet.Spec, mb int) fleet.Spec {
	spec.Resources.MemoryMB = mb
	return spec
}

// why is all that is said of a service, a reason a line.
func (w *world) why(name string) string {
	w.t.Helper()
	why, err := w.engine().Why(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(why.Reasons, "\n")
}

func TestADrainLeavesWhatWritesToAVolumeAndSaysSo(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.specWith("db", fleet.Volume{Name: "data", Path: "/data"})
		spec.Placement.Constraints = []fleet.Constraint{"node==b"}
		w.deployed(spec)
		spec.Placement.Constraints = nil
		w.deployed(spec)
		job := w.drained("b")
		if job.State != fleet.JobFailed || !strings.Contains(job.Error, "the volume data is on b") {
			t.Errorf("the drain is %s: %s", job.State, job.Error)
		}
		if got := fmt.Sprint(w.spread("db")); got != "map[b:2]" || w.status("db") != fleet.StatusRunning {
			t.Errorf("it stands on %s and is %s", got, w.status("db"))
		}
	})
}
