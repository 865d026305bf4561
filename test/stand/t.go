package stand

import (
	"fmt"
	"time"
)

// T is the part of testing.T that a stand needs, so that a benchmark which is a
// program of its own can use one too.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Fatalf(format string, args ...any) // does not return
	Failed() bool
	Cleanup(func())
}

// step is the time between two looks at something outside of this process
// that cannot tell by itself when it changes.
const step = 20 * time.Millisecond

// Eventually looks until look returns nil, and fails the test with its last
// error when that takes longer than within.
func Eventually(t T, within time.Duration, what string, look func() error) {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		err := look()
		if err == nil {
			return
		}
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
		<-ticker.C
	}
}

// Always looks for the whole time and fails the test as soon as look returns an error.
func Always(t T, during time.Duration, what string, look func() error) {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for time.Since(began) < during {
		if err := look(); err != nil {
			t.Fatalf("no longer so after %v: %s: %v", time.Since(began).Round(time.Millisecond), what, err)
		}
		<-ticker.C
	}
}

// must fails the test on an error.
func must(t T, err error, what string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("cannot %s: %v", fmt.Sprintf(what, args...), err)
	}
}
