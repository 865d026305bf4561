package engine

import (
	"testing"
	"time"
)

func TestAnAppThatWasBeingStartedIsWaitedForByTheNextProcess(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		w.asleep(w.spec("web", "app:1", 1))
		if _, err := w.engine().Wake(w.ctx, "web", "tester"); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second) // of ten
		w.restart()
		if endpoints := w.endpoints("web"); len(endpoints) > 0 {
			t.Errorf("published before it is ready: %v", endpoints)
		}
		began := time.Now()
		if _, err := w.request("web", 0); err != nil {
			t.Errorf("a request: %v", err)
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("answered after %s: it was started anew", took)
		}
	})
}
