package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// events are the messages of a service's events of one type, in order.
func (w *world) events(service string, kind fleet.EventType) []string {
	w.t.Helper()
	time.Sleep(time.Second) // they are stored beside what happens
	list, err := w.store.Events().List(w.ctx, fleet.EventFilter{Service: service, Types: []fleet.EventType{kind}, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var messages []string
	for _, e := range list {
		messages = append(messages, e.Message)
	}
	return messages
}

func (w *world) startsOfReplica(name string) int {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	return w.docker.started[name]
}

func TestAnUnhealthyReplicaLeavesTheEdgesBeforeItIsRestarted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.edge.set(func() { w.edge.delay = 2 * time.Second })
		w.docker.mu.Lock()
		w.docker.apps["app:1"] = behaviour{stopTakes: time.Millisecond} // no grace for what is in flight
		w.docker.mu.Unlock()
		stop := w.traffic("web", 20*time.Millisecond, 5*time.Second)
		before := w.startsOfReplica("web-0")
		w.sicken("web-0")
		w.until("it is started again", func() bool { return w.startsOfReplica("web-0") == before+1 })
		w.settledOn("web", 1, 2)
		stop() // none of the requests failed
		if got := w.events("web", fleet.EventHealth); !slices.Equal(got, []string{"Container web-0 failed health check: it does not answer as it should", "Container web-0 healthy"}) {
			t.Errorf("events %q", got)
		}
	})
}

func TestAReplicaThatRecoversOnItsWayOffTheEdgesIsNotRestarted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.edge.set(func() { w.edge.delay = 5 * time.Second })
		w.sicken("web-0")
		w.until("it leaves", func() bool { return len(w.endpoints("web")) == 1 })
		w.cure("web-0")
		w.until("it is back", func() bool { return len(w.endpoints("web")) == 2 })
		time.Sleep(time.Minute)
		if n := w.startsOf("web"); n != 2 {
			t.Errorf("%d starts", n)
		}
		w.settledOn("web", 1, 2)
	})
}

func TestTheLastReplicaThatAnswersStaysOnTheEdgesUntilAnotherTakesItsPlace(t *testing.T) {
	for replicas := 1; replicas <= 2; replicas++ {
		t.Run(fmt.Sprint(replicas), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", replicas))
				w.watchEdge("web", 1)
				stop := w.traffic("web", 20*time.Millisecond, 200*time.Millisecond)
				for index := range replicas {
					w.sicken(fmt.Sprintf("web-%d", index))
				}
				before := w.startsOf("web")
				w.until("new ones are started", func() bool { return w.startsOf("web") >= before+replicas })
				w.settledOn("web", 1, replicas)
				time.Sleep(5 * time.Second)
				stop()
				if service, err := w.engine().Service("web"); err != nil || service.Health != fleet.Healthy || service.Status != fleet.StatusRunning {
					t.Errorf("%+v, %v", service.Service, err)
				}
			})
		})
	}
}

func TestTheLastReplicaStaysOnTheEdgesWhenNoOtherBecomesReady(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.RestartLimit.Attempts = 3
		w.deployed(spec)
		w.watchEdge("web", 1)
		stop := w.traffic("web", time.Second, 200*time.Millisecond)
		w.behave("app:1", behaviour{sick: true})
		w.until("it is left as it is", func() bool {
			return slices.ContainsFunc(w.events("web", fleet.EventFailed), func(m string) bool {
				return strings.Contains(m, "to replace it 3 times did not help; it stays on the edges")
			})
		})
		starts := w.startsOf("web")
		time.Sleep(time.Hour)
		if n := w.startsOf("web"); n != starts {
			t.Errorf("%d starts more", n-starts)
		}
		if service, err := w.engine().Service("web"); err != nil || service.Health != fleet.Unhealthy || service.Status != fleet.StatusDegraded {
			t.Errorf("%+v, %v", service.Service, err)
		}
		w.behave("app:1", behaviour{})
		w.until("it is healthy", func() bool { return w.status("web") == fleet.StatusRunning })
		stop()
		w.settledOn("web", 1, 1)
	})
}

func TestRequestsAreHeldWhileTheLastReplicaThatHangsIsRestarted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.hang("web-0")
		w.until("it leaves the edges", func() bool { return len(w.endpoints("web")) == 0 })
		began := time.Now()
		if got, err := w.request("web", 0); err != nil || got != "web-0" {
			t.Errorf("%s, %v", got, err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("held for %s", took)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestAnAppThatHangsInItsStartIsStoppedAndTriedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.behave("app:1", behaviour{never: true})
		w.crash("web-0", 1)
		time.Sleep(5 * time.Minute)
		if n := w.startsOfReplica("web-0"); n < 3 {
			t.Errorf("%d starts", n)
		}
		w.behave("app:1", behaviour{})
		w.settledOn("web", 1, 2)
	})
}

// withHealthcheck gives an image a HEALTHCHECK.
func (w *world) withHealthcheck(ref string) {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	image := w.docker.images[ref]
	image.Check = &fleet.ImageCheck{Command: []string{"/check"}, Interval: 10 * time.Second, Timeout: time.Second, Retries: 3}
	w.docker.images[ref], w.docker.images[image.ID] = image, image
}

func TestDockersVerdictIsTakenFromItsNotices(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withHealthcheck("app:1")
		w.deployed(w.spec("web", "app:1", 2))
		w.sicken("web-0")
		w.judge("web-0", fleet.Unhealthy)
		w.until("it is restarted", func() bool { return w.startsOfReplica("web-0") == 2 })
		w.settledOn("web", 1, 2)
	})
}

func TestDockersVerdictOnAPausedAppIsNotBelieved(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withHealthcheck("app:1")
		spec := w.spec("web", "app:1", 1)
		spec.Sleep.Mode = fleet.SleepPause
		w.asleep(spec)
		w.judge("web-0", fleet.Unhealthy) // as an engine says at once of one that is paused
		if _, err := w.request("web", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		w.judge("web-0", fleet.Healthy)
		time.Sleep(5 * time.Minute)
		if got := w.events("web", fleet.EventHealth); len(got) != 0 || w.startsOf("web") != 1 {
			t.Errorf("events %q, %d starts", got, w.startsOf("web"))
		}
	})
}

func TestAVerdictThatNobodyToldIsFoundInTheList(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withHealthcheck("app:1")
		w.deployed(w.spec("web", "app:1", 2))
		time.Sleep(time.Minute)
		w.docker.breakStreams()
		w.judge("web-0", fleet.Unhealthy)
		w.until("it is restarted", func() bool { return w.startsOfReplica("web-0") == 2 })
	})
}

func TestTheLastReplicaThatMustNotRunTwiceIsLeftWhileItAnswers(t *testing.T) {
	for name, change := range map[string]func(*fleet.Spec){
		"stop-first": func(s *fleet.Spec) { s.Update.Order = fleet.StopFirst },
		"host port":  func(s *fleet.Spec) { s.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}} },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 1)
				change(&spec)
				w.deployed(spec)
				w.watchEdge("web", 1)
				w.sicken("web-0")
				w.untilStatus("web", fleet.StatusDegraded)
				time.Sleep(time.Hour)
				if warnings := w.events("web", fleet.EventWarning); len(warnings) != 1 || !strings.Contains(warnings[0], "left to spawner restart") || w.startsOf("web") != 1 {
					t.Errorf("warnings %q, %d starts", warnings, w.startsOf("web"))
				}
				w.edge.set(func() { w.edge.seen = nil })
				w.hang("web-0") // which serves nobody: then it is restarted
				w.until("it is restarted", func() bool { return w.startsOf("web") == 2 })
				w.settledOn("web", 1, 1)
			})
		})
	}
}
