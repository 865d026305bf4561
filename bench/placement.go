package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"edgespawner/test/stand"
)

// placement runs the scheduler's own benchmarks, which need no engine, and
// takes over their figures: decisions, a simulation, and how well it packs.
func placement(b *bench) {
	found := b.goBench("./scheduler", "PlaceOne|TwoMillion", "1s")
	for _, kind := range []string{"plain", "full"} {
		for _, nodes := range []int{10, 100, 1000, 6100} {
			one := found[fmt.Sprintf("PlaceOne/%s/nodes=%d", kind, nodes)]
			name := fmt.Sprintf("one placement among %d nodes", nodes)
			if kind == "full" {
				name += ", with constraints, spreads and a host port"
			}
			detail := fmt.Sprintf("%.0f allocations", one["allocs/op"])
			if nodes == 1000 {
				b.atMost(name, one["ns/op"]/1e3, 1000, "µs", detail)
			} else {
				b.show(name, one["ns/op"]/1e3, "µs", detail)
			}
		}
	}
	b.atMost("2,000,000 replicas on 6,100 nodes, simulated", found["TwoMillion"]["ns/op"]/1e9, 60, "s",
		"in 2,000 batches, decisions alone; Nomad's C2M took 22 min for the same numbers, as a whole system")
	packed := b.goBench("./scheduler", "Binpack", "1x")
	for _, class := range []string{"uniform-120", "uniform-250", "uniform-500", "triplets-60", "triplets-120", "triplets-249", "triplets-501"} {
		best := "the optimum, known by construction"
		if strings.HasPrefix(class, "uniform") {
			best = "a bound that no packing is below"
		}
		of := packed["Binpack/"+class]
		b.show("binpack, "+class+", as replicas come", of["coming/best"], "×", "nodes used, of "+best+"; 20 instances by Falkenauer's recipe")
		b.show("binpack, "+class+", the largest first", of["sorted/best"], "×", "")
	}
}

// goBench runs Go benchmarks of a package and returns their figures by name and unit.
func (b *bench) goBench(folder, which, long string) map[string]map[string]float64 {
	run := exec.Command("go", "test", folder, "-run", "^$", "-bench", which, "-benchtime", long, "-benchmem")
	run.Dir, run.Stderr = stand.Root(b), os.Stderr
	output, err := run.Output()
	if err != nil {
		b.Fatalf("go test -bench %s: %v\n%s", which, err, output)
	}
	found := map[string]map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if cores := runtime.GOMAXPROCS(0); cores > 1 {
			name = strings.TrimSuffix(name, fmt.Sprintf("-%d", cores))
		}
		found[name] = map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				b.Fatalf("cannot read %q: %v", lines.Text(), err)
			}
			found[name][fields[i+1]] = value
		}
	}
	if len(found) == 0 {
		b.Fatalf("no benchmark is called %s", which)
	}
	return found
}
