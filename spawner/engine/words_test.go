package engine

import (
	"slices"
	"strings"
	"testing"

	"edgespawner/fleet"
)

func TestAnAppThatDoesNotBecomeReadyIsSaidWithWhatItsLastProbeFound(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{never: true})
		job := w.deploy(w.spec("web", "app:1", 1))
		if job.State != fleet.JobFailed || !strings.Contains(job.Error, "check has not succeeded: it does not answer") {
			t.Errorf("the deploy is %s: %q", job.State, job.Error)
		}
	})
}

func TestOnlyANewRevisionWaitsForItsCertificates(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Route = &fleet.Route{Hosts: []string{"web.test"}, TLS: true}
		certifies := func(job fleet.Job) bool {
			return slices.ContainsFunc(job.Steps, func(s fleet.Step) bool { return s.Verb == "certify" })
		}
		if job := w.deploy(spec); !certifies(job) {
			t.Errorf("the deploy did not look for certificates: %+v", job.Steps)
		}
		if job := w.done(w.engine().Scale(w.ctx, "web", 2, "tester")); certifies(job) || job.State != fleet.JobSucceeded {
			t.Errorf("the scale is %s, with steps %+v", job.State, job.Steps)
		}
	})
}

func TestWhyTellsAReasonOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.RestartLimit.Attempts = 1
		w.deployed(spec)
		w.behave("app:1", behaviour{exits: true, exitCode: 9})
		w.crash("web-0", 9)
		w.untilStatus("web", fleet.StatusFailed)
		why, err := w.engine().Why("web")
		if err != nil || strings.Count(strings.Join(why.Reasons, "\n"), "code 9") != 1 {
			t.Errorf("%q, %v", why.Reasons, err)
		}
	})
}

func TestAnEndThatSomebodyElseBroughtAboutIsToldFromTheAppsOwn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		const outside = "stopped from outside"
		w.crash("web-0", 9)
		w.untilServing("web", 1)
		if told := w.events("web", fleet.EventExit); len(told) != 1 || strings.Contains(told[0], outside) {
			t.Errorf("it ended by itself, and is told to have: %q", told)
		}
		w.stopByHand("web-0")
		w.untilServing("web", 1)
		w.until("it is told", func() bool { return len(w.events("web", fleet.EventExit)) == 2 })
		if told := w.events("web", fleet.EventExit); !strings.Contains(strings.Join(told, "; "), "exited with code 0 at ") || !strings.Contains(strings.Join(told, "; "), outside) {
			t.Errorf("it was stopped, and is told to have: %q", told)
		}
	})
}
