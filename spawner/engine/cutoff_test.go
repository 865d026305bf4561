package engine

import (
	"testing"
	"time"

	"edgespawner/fleet"
)

// downSince is what the data plane is told when the service is published next.
func (w *world) downSince(name string) (since time.Time) {
	w.t.Helper()
	a, ok := w.engine().actor(name)
	if !ok {
		w.t.Fatalf("there is no service %s", name)
	}
	if err := a.call(w.ctx, func() { since = a.downSince }); err != nil {
		w.t.Fatal(err)
	}
	return since
}

// startsNothing lets every start on a node fail until the world's flaw is another.
func (d *fakeDocker) startsNothing(fails bool) {
	if !fails {
		d.flaw(nil)
		return
	}
	d.flaw(func(verb, _ string) error {
		if verb == "create" || verb == "start" {
			return fleet.Errorf(fleet.Unavailable, "nothing starts here")
		}
		return nil
	})
}

// A request that a node had in hand when its power went comes to the wake leg when
// the edge's kernel gives its connection up, seconds after. It may have been
// carried out, however long the service has been down by then.
func TestOfAnAppThatWentWithItsNodeNobodyKnowsSinceWhenItIsDown(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.deployed(w.spec("one", "app:1", 1))
		lost, other := w.on("a"), w.on("b")
		if w.spread("one")["a"] == 0 {
			lost, other = other, lost
		}
		other.startsNothing(true)
		lost.silence(true)
		w.untilNode(lost.node.Name, fleet.NodeDown)
		w.until("it is placed elsewhere", func() bool { return w.spread("one")[other.node.Name] == 1 })
		for range 15 {
			time.Sleep(time.Second)
			if since := w.downSince("one"); !since.IsZero() {
				w.t.Fatalf("it is told to be down since %s", since)
			}
		}
		other.startsNothing(false)
		if _, err := w.request("one", 0); err != nil {
			w.t.Fatal(err)
		}
		w.untilServing("one", 1)
		mustTellItsNextEnd(w, other)
	})
}

func TestOfAnAppThatWasCutOffItsNetworkNobodyKnowsSinceWhenItIsDown(t *testing.T) {
	synctestWorld(t, func(*world) {}, func(w *world) {
		w.deployed(w.spec("one", "app:1", 1))
		w.docker.startsNothing(true)
		w.removeByHand("one-0.net")
		w.until("it does not serve", func() bool { return len(w.endpoints("one")) == 0 })
		for range 15 {
			time.Sleep(time.Second)
			if since := w.downSince("one"); !since.IsZero() {
				w.t.Fatalf("it is told to be down since %s", since)
			}
		}
		w.docker.startsNothing(false)
		if _, err := w.request("one", 0); err != nil {
			w.t.Fatal(err)
		}
		w.untilServing("one", 1)
		mustTellItsNextEnd(w, w.docker)
	})
}

// mustTellItsNextEnd crashes the only replica: of that end the clients are told.
func mustTellItsNextEnd(w *world, on *fakeDocker) {
	w.t.Helper()
	on.startsNothing(true)
	on.mu.Lock()
	for _, b := range on.boxes {
		if b.name == "one-0" {
			on.endLocked(b, b.life, 3)
		}
	}
	on.mu.Unlock()
	w.until("its end is told", func() bool { return !w.downSince("one").IsZero() })
}
