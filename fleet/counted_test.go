package fleet

import "testing"

func TestOneOfAThingIsWrittenWithoutAnS(t *testing.T) {
	for n, want := range map[int]string{0: "0 replicas", 1: "1 replica", 2: "2 replicas", 1000: "1000 replicas"} {
		if got := Counted(n, "replica"); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0 nodes are", 1: "1 node is", 2: "2 nodes are"} {
		if got := CountedAre(n, "node"); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
