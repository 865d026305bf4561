package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// bench is one benchmark under way. It is the T of its stand.
type bench struct {
	name     string
	rounds   int
	figures  []figure
	failed   bool
	cleanups []func()
}

// figure is one measured value beside what it is to reach.
type figure struct {
	Benchmark string  `json:"benchmark"`
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Reach     string  `json:"reach,omitempty"` // in words; empty = no aim
	Met       *bool   `json:"met,omitempty"`   // nil = no aim
	Detail    string  `json:"detail,omitempty"`
}

// stop ends a benchmark from inside.
type stop struct{}

// measure runs a benchmark and takes away what it has set up.
func (b *bench) measure(run func(*bench)) (ok bool) {
	defer func() {
		for _, cleanup := range slices.Backward(b.cleanups) {
			cleanup()
		}
		ok = !b.failed
	}()
	defer func() {
		if r := recover(); r != nil {
			if _, stopped := r.(stop); !stopped {
				panic(r)
			}
		}
	}()
	run(b)
	return true
}

// Helper, Name, Logf, Fatalf, Failed and Cleanup make it a stand.T.
func (b *bench) Helper()          {}
func (b *bench) Name() string     { return "bench-" + b.name }
func (b *bench) Failed() bool     { return b.failed }
func (b *bench) Cleanup(f func()) { b.cleanups = append(b.cleanups, f) }

func (b *bench) Logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "    "+format+"\n", args...)
}

func (b *bench) Fatalf(format string, args ...any) {
	b.failed = true
	b.Logf("FAILED: "+format, args...)
	panic(stop{})
}

// show records a value without an aim.
func (b *bench) show(name string, value float64, unit, detail string) {
	b.figures = append(b.figures, figure{Benchmark: b.name, Name: name, Value: value, Unit: unit, Detail: detail})
	b.Logf("%s: %.4g %s %s", name, value, unit, detail)
}

// hold records a value beside its aim.
func (b *bench) hold(name string, value float64, unit, reach string, met bool, detail string) {
	b.figures = append(b.figures, figure{Benchmark: b.name, Name: name, Value: value, Unit: unit, Reach: reach, Met: &met, Detail: detail})
	b.Logf("%s: %.4g %s (to reach: %s, met: %v) %s", name, value, unit, reach, met, detail)
}

// atMost is hold for an upper bound.
func (b *bench) atMost(name string, value, bound float64, unit, detail string) {
	b.hold(name, value, unit, fmt.Sprintf("≤ %.4g %s", bound, unit), value <= bound, detail)
}

// atLeast is hold for a lower bound.
func (b *bench) atLeast(name string, value, bound float64, unit, detail string) {
	b.hold(name, value, unit, fmt.Sprintf("≥ %.4g %s", bound, unit), value >= bound, detail)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
