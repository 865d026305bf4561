// Bench measures what the product promises, each figure beside its floor in the
// same run, on a real Docker engine and a stock Traefik. It prints a table and
// writes bench.json; it judges nothing, a miss is shown as a miss.
//
//	go run ./bench [-only NAME,…] [-rounds N] [-json FILE]
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// benchmark is one set-up and the figures that it gives.
type benchmark struct {
	name string
	what string
	run  func(b *bench)
}

// benchmarks are in the order in which they are run: the quiet ones first.
var benchmarks = []benchmark{
	{"placement", "decisions of the scheduler, and how well it packs", placement},
	{"wake", "wakes from stop and pause over their floors", wakes},
	{"healthcheck", "a wake with a HEALTHCHECK of 30 s interval", wakeWithHealthcheck},
	{"crowd", "1,000 requests at once at a sleeper", crowd},
	{"warm", "req/s through the edge against a plain route", warm},
	{"crash", "an app killed -9, until it serves again", crash},
	{"hang", "an app that hangs, until the edge sends it nothing", hang},
	{"fleet", "100 replicas on one node", manyReplicas},
	{"cluster", "100 replicas on 10 real engines, one of which loses its power (root)", cluster},
	{"jobs", "jobs per second through the queue", jobsPerSecond},
	{"routes", "from a change to its confirmation by the edge", routes},
	{"traffic", "200 req/s through sleeps, deploys and kills", trafficRun},
	{"events", "10,000 events, listed and streamed", recordedEvents},
	{"upload", "memory of the edge under a 1 GB upload", upload},
}

func main() {
	only := flag.String("only", "", "run only these benchmarks, with commas between")
	rounds := flag.Int("rounds", 20, "measurements of each kind")
	file := flag.String("json", "bench.json", "where the figures are written")
	flag.Parse()
	code := 0
	var all []figure
	for _, m := range benchmarks {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), m.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "==> %s: %s\n", m.name, m.what)
		b := &bench{name: m.name, rounds: *rounds}
		if !b.measure(m.run) {
			code = 1
		}
		all = append(all, b.figures...)
	}
	if err := errors.Join(printTable(os.Stdout, all), writeJSON(*file, all)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = 1
	}
	os.Exit(code)
}

// report is the file that a run leaves behind.
type report struct {
	At      time.Time `json:"at"`
	Cores   int       `json:"cores"`
	Go      string    `json:"go"`
	Figures []figure  `json:"figures"`
}

func writeJSON(path string, figures []figure) error {
	data, err := json.MarshalIndent(report{time.Now().UTC(), runtime.NumCPU(), runtime.Version(), figures}, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write the figures: %w", err)
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
