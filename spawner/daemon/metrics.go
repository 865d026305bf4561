package daemon

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"edgespawner/fleet"
)

// metrics are what /metrics tells.
type metrics struct {
	registry    *prometheus.Registry
	edgeApplied *prometheus.HistogramVec
	edgeRefused *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		edgeApplied: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spawner_edge_apply_seconds", Help: "From a change to its proof on every entry point of an edge.",
			Buckets: []float64{.002, .005, .01, .015, .025, .05, .1, .25, .5, 1, 5},
		}, []string{"edge"}),
		edgeRefused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spawner_edge_refused_total", Help: "Documents that an edge refused, and services left out for it.",
		}, []string{"edge", "service"}),
	}
	m.registry.MustRegister(m.edgeApplied, m.edgeRefused, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) applied(edge string, took time.Duration) {
	m.edgeApplied.WithLabelValues(edge).Observe(took.Seconds())
}

func (m *metrics) refused(edge, service string) {
	m.edgeRefused.WithLabelValues(edge, service).Inc()
}

// watch adds what is counted elsewhere and read when it is asked for.
func (m *metrics) watch(s *spawner) { m.registry.MustRegister(&state{spawner: s}) }

// state reads the services and the fallback router's counters at each scrape.
type state struct{ spawner *spawner }

var (
	descServices = prometheus.NewDesc("spawner_services", "Services by status.", []string{"status"}, nil)
	descReplicas = prometheus.NewDesc("spawner_replicas", "Replicas by Docker's word for their state.", []string{"status"}, nil)
	descHeld     = prometheus.NewDesc("spawner_held_requests", "Requests that wait for a service to wake.", nil, nil)
	descProxied  = prometheus.NewDesc("spawner_proxied_requests", "Requests that an app answers through the fallback router now.", nil, nil)
	descLegs     = prometheus.NewDesc("spawner_fallback_requests_total", "Requests at the fallback router by the way they came.", []string{"leg"}, nil)
	descWaited   = prometheus.NewDesc("spawner_held_seconds_total", "Time that requests have waited for services to wake.", nil, nil)
	descRedials  = prometheus.NewDesc("spawner_fallback_redials_total", "Attempts to connect to an app that were made again.", nil, nil)
	descOutcomes = prometheus.NewDesc("spawner_fallback_outcomes_total", "Requests at the fallback router by how they ended.", []string{"outcome"}, nil)
)

// Describe implements prometheus.Collector.
func (c *state) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descServices, descReplicas, descHeld, descProxied, descWaited, descRedials, descLegs, descOutcomes} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *state) Collect(out chan<- prometheus.Metric) {
	services, replicas := map[fleet.Status]int{}, map[fleet.ContainerStatus]int{}
	for _, service := range c.spawner.engine.Services() {
		services[service.Status]++
		for _, container := range service.Containers {
			replicas[container.Status]++
		}
	}
	for status, count := range services {
		out <- prometheus.MustNewConstMetric(descServices, prometheus.GaugeValue, float64(count), string(status))
	}
	for status, count := range replicas {
		out <- prometheus.MustNewConstMetric(descReplicas, prometheus.GaugeValue, float64(count), string(status))
	}
	stats := c.spawner.fallback.Stats()
	out <- prometheus.MustNewConstMetric(descHeld, prometheus.GaugeValue, float64(stats.Held))
	out <- prometheus.MustNewConstMetric(descProxied, prometheus.GaugeValue, float64(stats.Proxied))
	out <- prometheus.MustNewConstMetric(descWaited, prometheus.CounterValue, stats.Waited.Seconds())
	out <- prometheus.MustNewConstMetric(descRedials, prometheus.CounterValue, float64(stats.Redials))
	for leg, count := range stats.Legs {
		out <- prometheus.MustNewConstMetric(descLegs, prometheus.CounterValue, float64(count), string(leg))
	}
	for outcome, count := range stats.Outcomes {
		out <- prometheus.MustNewConstMetric(descOutcomes, prometheus.CounterValue, float64(count), string(outcome))
	}
}
