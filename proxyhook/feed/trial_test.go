package feed

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// refusesImage refuses every document that holds an image with that word in its name.
func refusesImage(word string) func(page) bool {
	return func(p page) bool {
		for _, text := range p.Services {
			if strings.Contains(text, word) {
				return true
			}
		}
		return false
	}
}

func TestARefusedServiceIsFoundAndTheOthersGoOn(t *testing.T) {
	play(t, func(t *testing.T) {
		var refused []string
		s := open(t, Config{
			Settings: both, Edges: []EdgeAddress{address("main")},
			Refused: func(edge, service string) { refused = append(refused, edge+"/"+service) },
		})
		edge := (&traefik{stage: s, name: "main", refuses: refusesImage("bad")}).start()
		s.put("blog", "blog", 1, "10.0.0.1:80")
		s.confirmed(s.put("shop", "shop", 1, "10.0.0.2:80"))

		bad := s.put("blog", "bad", 2, "10.0.0.1:80")
		begun := time.Now()
		_, err := s.feed.Confirmed(t.Context(), bad)
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "blog (revision 2)") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took > 8*time.Second {
			t.Errorf("found after %s", took)
		}
		// The others go on, and the refused one follows its replicas under the rule that was accepted.
		s.confirmed(s.put("shop", "shop", 1, "10.0.0.3:80"))
		s.confirmed(s.put("blog", "bad", 2, "10.0.0.9:80"))
		if got := edge.routes("shop") + "; " + edge.routes("blog"); got != "shop r1 10.0.0.3:80; blog r1 10.0.0.9:80" {
			t.Errorf("in force: %s", got)
		}
		if _, err := s.feed.Confirmed(t.Context(), bad); err == nil {
			t.Error("the refused version is confirmed later on")
		}
		if got := s.feed.Edges()[0].Refused; got != "blog (revision 2)" {
			t.Errorf("the edge is said to refuse %q", got)
		}
		if got := s.feed.Why("blog"); len(got) != 1 {
			t.Errorf("why: %v", got)
		}
		if said := s.said(); !strings.Contains(said, "edge blog: Edge main refuses the routes of revision 2") {
			t.Errorf("events: %s", said)
		}
		if got := strings.Join(refused, " "); got != "main/ main/blog" {
			t.Errorf("refusals: %s", got)
		}
		// A mended revision is taken without more ado.
		s.confirmed(s.put("blog", "blog", 3, "10.0.0.4:80"))
		if got := edge.routes("blog") + s.feed.Edges()[0].Refused; got != "blog r3 10.0.0.4:80" {
			t.Errorf("after the mend: %s", got)
		}
	})
}

func TestANewServiceThatIsRefusedIsLeftOut(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main", refuses: refusesImage("bad")}).start()
		s.confirmed(s.put("blog", "blog", 1))
		if _, err := s.feed.Confirmed(t.Context(), s.put("api", "bad", 1)); err == nil {
			t.Error("confirmed")
		}
		s.confirmed(s.put("blog", "blog", 1, "10.0.0.1:80"))
		if got := edge.routes("api"); got != "" || edge.routes("blog") != "blog r1 10.0.0.1:80" {
			t.Errorf("in force: %q and %q", got, edge.routes("blog"))
		}
		s.put("api", "", 1)
		s.confirmed(s.put("api", "good", 1))
		if got := edge.routes("api"); got != "good r1" {
			t.Errorf("deployed anew: %q", got)
		}
	})
}

func TestSeveralCulpritsAmongManyAreFoundInTheFirstDocument(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		for i := range 20 {
			image := "app"
			if i == 3 || i == 17 {
				image = "bad"
			}
			s.put(fmt.Sprintf("app-%02d", i), image, 1)
		}
		edge := (&traefik{stage: s, name: "main", refuses: refusesImage("bad")}).start()
		time.Sleep(2 * time.Minute)
		if got := s.feed.Edges()[0].Refused; got != "app-03 (revision 1), app-17 (revision 1)" {
			t.Errorf("found: %s", got)
		}
		for i := range 20 {
			name := fmt.Sprintf("app-%02d", i)
			if got, bad := edge.routes(name), i == 3 || i == 17; (got == "") != bad {
				t.Errorf("%s has %q", name, got)
			}
		}
		s.confirmed(s.snapshot.Version)
	})
}

func TestChangesDuringATrialArriveToo(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		edge := (&traefik{stage: s, name: "main", refuses: refusesImage("bad")}).start()
		for i := range 6 {
			s.put(fmt.Sprintf("app-%d", i), "app", 1)
		}
		s.confirmed(s.snapshot.Version)
		for i := range 6 {
			image := "new"
			if i == 4 {
				image = "bad"
			}
			s.put(fmt.Sprintf("app-%d", i), image, 2)
		}
		time.Sleep(refusalTime + time.Second)
		s.confirmed(s.put("late", "late", 1))
		_, err := s.feed.Confirmed(t.Context(), s.put("later", "bad", 1))
		if err == nil || !strings.Contains(err.Error(), "later") {
			t.Errorf("got %v", err)
		}
		s.confirmed(s.snapshot.Version - 1)
		for i, want := range []string{"new r2", "new r2", "new r2", "new r2", "app r1", "new r2"} {
			if got := edge.routes(fmt.Sprintf("app-%d", i)); got != want {
				t.Errorf("app-%d has %q, want %q", i, got, want)
			}
		}
		if got := edge.routes("late"); got != "late r1" {
			t.Errorf("late has %q", got)
		}
	})
}

func TestAnEdgeThatRefusesEverythingSaysSoOnce(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{address("main")}})
		everything := true
		edge := (&traefik{stage: s, name: "main", refuses: func(page) bool { return everything }}).start()
		version := s.put("blog", "blog", 1)
		if _, err := s.feed.Confirmed(t.Context(), version); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
		s.put("shop", "shop", 1)
		time.Sleep(time.Minute)
		if said := s.said(); strings.Count(said, "even a document without any service") != 1 {
			t.Errorf("events: %s", said)
		}
		if got := s.feed.Edges()[0].Refused; got != "every document" {
			t.Errorf("the edge is said to refuse %q", got)
		}
		edge.kill()
		everything = false
		edge.connect()
		time.Sleep(time.Second)
		s.confirmed(s.snapshot.Version)
		if got := s.feed.Edges()[0].Refused + edge.routes("shop"); got != "shop r1" {
			t.Errorf("after its upgrade: %q", got)
		}
	})
}

func TestALeadElsewhereIsNoRefusal(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Edges: []EdgeAddress{{Name: "main", Web: "http://other:80"}}})
		edge := (&traefik{stage: s, name: "main"}).start()
		other := &traefik{stage: s, name: "other"}
		other.listen()
		s.confirmed(s.put("blog", "blog", 1))
		time.Sleep(time.Minute)
		if got := edge.routes("blog"); got != "blog r1" {
			t.Errorf("%q is in force", got)
		}
		if got := s.feed.Edges()[0]; got.Refused != "" || !strings.Contains(got.Note, "lead elsewhere") {
			t.Errorf("got %+v", got)
		}
	})
}
