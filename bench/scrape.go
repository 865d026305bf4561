package main

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"edgespawner/test/stand"
)

// scrape is what /metrics told at a moment.
type scrape struct {
	at       time.Time
	families map[string]*dto.MetricFamily
}

// scrape reads the spawner's metrics.
func (b *bench) scrape(s *stand.Stand) scrape {
	page := s.CallAPI(http.MethodGet, "/metrics", "", map[string]string{"Authorization": "Bearer " + s.Spawner.AdminToken()}).MustBe(http.StatusOK)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page.Body))
	if err != nil {
		b.Fatalf("cannot read the metrics: %v", err)
	}
	return scrape{time.Now(), families}
}

// sum adds up a counter, or a gauge, over its labels.
func (s scrape) sum(name string) float64 {
	total := 0.0
	for _, metric := range s.families[name].GetMetric() {
		total += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	}
	return total
}

// buckets adds up a histogram over its labels: upper bounds and how many lie below each.
func (s scrape) buckets(name string) map[float64]float64 {
	all := map[float64]float64{}
	for _, metric := range s.families[name].GetMetric() {
		for _, bucket := range metric.GetHistogram().GetBucket() {
			all[bucket.GetUpperBound()] += float64(bucket.GetCumulativeCount())
		}
	}
	return all
}

// quantile is that of a histogram between two scrapes, as Prometheus would
// estimate it: within a bucket, values are taken to lie evenly.
func quantile(before, after scrape, name string, q float64) float64 {
	old, fresh := before.buckets(name), after.buckets(name)
	var bounds []float64
	for bound := range fresh {
		bounds = append(bounds, bound)
	}
	slices.Sort(bounds)
	if len(bounds) == 0 {
		return math.NaN()
	}
	count := func(i int) float64 { return fresh[bounds[i]] - old[bounds[i]] }
	wanted := q * count(len(bounds)-1)
	for i, bound := range bounds {
		if count(i) < wanted {
			continue
		}
		if math.IsInf(bound, 1) {
			return bounds[i-1]
		}
		low, below := 0.0, 0.0
		if i > 0 {
			low, below = bounds[i-1], count(i-1)
		}
		return low + (bound-low)*(wanted-below)/(count(i)-below)
	}
	return math.NaN()
}
