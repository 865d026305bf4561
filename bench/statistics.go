package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// percentile returns the value below which that share of the values lies, p from 0 to 1.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := p * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func median(values []float64) float64 { return percentile(values, 0.5) }

// interval returns the 95 % confidence interval of the median: the order
// statistics at n/2 ± 0.98·√n (the sign test's bounds).
func interval(values []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	n := float64(len(sorted))
	half := 0.98 * math.Sqrt(n)
	first := max(0, int(math.Floor(n/2-half)))
	last := min(len(sorted)-1, int(math.Ceil(n/2+half)))
	return sorted[first], sorted[last]
}

// ratios divides the values of interleaved rounds pair by pair.
func ratios(values, floor []float64) []float64 {
	list := make([]float64, min(len(values), len(floor)))
	for i := range list {
		list[i] = values[i] / floor[i]
	}
	return list
}

// spread says how sure a median is.
func spread(values []float64) string {
	low, high := interval(values)
	return fmt.Sprintf("95 %% interval of the median %.4g–%.4g, n=%d", low, high, len(values))
}

// printTable prints the figures for people.
func printTable(out io.Writer, figures []figure) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BENCHMARK\tFIGURE\tVALUE\tTO REACH\tMET\tDETAIL")
	for _, f := range figures {
		met := ""
		if f.Met != nil {
			met = map[bool]string{true: "yes", false: "NO"}[*f.Met]
		}
		fmt.Fprintf(w, "%s\t%s\t%.4g %s\t%s\t%s\t%s\n", f.Benchmark, f.Name, f.Value, f.Unit, cmp.Or(f.Reach, "-"), cmp.Or(met, "-"), f.Detail)
	}
	return w.Flush()
}
