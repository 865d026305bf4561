package daemon

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"edgespawner/fleet"
	"edgespawner/probes"
	"edgespawner/spawner/docker"
	"edgespawner/spawner/engine"
	"edgespawner/spawner/webhooks"
)

// metrics are what /metrics tells: these are counted as things happen, on the
// word of the parts; state is read when it is asked for.
type metrics struct {
	registry *prometheus.Registry

	wakes       *prometheus.CounterVec
	wakeSeconds *prometheus.HistogramVec
	sleeps      *prometheus.CounterVec
	restarts    *prometheus.CounterVec
	jobs        *prometheus.CounterVec
	jobSeconds  *prometheus.HistogramVec
	events      *prometheus.CounterVec
	deliveries  *prometheus.CounterVec

	probes        *prometheus.CounterVec
	probeSeconds  *prometheus.HistogramVec
	probeLateness prometheus.Histogram

	callSeconds *prometheus.HistogramVec
	callErrors  *prometheus.CounterVec

	edgeApplied *prometheus.HistogramVec
	edgeRefused *prometheus.CounterVec
}

// The buckets of the histograms, in seconds.
var (
	wakeBuckets  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	jobBuckets   = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}
	probeBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	lateBuckets  = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
	callBuckets  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	applyBuckets = []float64{.002, .005, .01, .015, .025, .05, .1, .25, .5, 1, 5}
)

func newMetrics(version string) *metrics {
	m := &metrics{
		registry:    prometheus.NewRegistry(),
		wakes:       counter("spawner_wakes_total", "Wakes that started apps, by how deep the service slept and whether a replica became ready.", "service", "mode", "outcome"),
		wakeSeconds: histogram("spawner_wake_seconds", "From the request for a wake to its first ready replica.", wakeBuckets, "mode"),
		sleeps:      counter("spawner_sleeps_total", "Times that a service fell asleep.", "service", "mode"),
		restarts:    counter("spawner_restarts_total", "Restarts of replicas that the spawner decided on by itself.", "service", "reason"),
		jobs:        counter("spawner_jobs_total", "Jobs that have ended.", "kind", "outcome"),
		jobSeconds:  histogram("spawner_job_seconds", "From the start of a job to its end.", jobBuckets, "kind"),
		events:      counter("spawner_events_total", "Events stored.", "type"),
		deliveries:  counter("spawner_webhook_deliveries_total", "Attempts to deliver an event to a webhook, and events given up.", "webhook", "outcome"),

		probes:        counter("spawner_probes_total", "Background probes of replicas.", "type", "result"),
		probeSeconds:  histogram("spawner_probe_seconds", "How long background probes took.", probeBuckets, "type"),
		probeLateness: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "spawner_probe_lateness_seconds", Help: "How late background probes began.", Buckets: lateBuckets}),

		callSeconds: histogram("spawner_engine_call_seconds", "How long calls of Docker engines took, whatever they answered.", callBuckets, "node", "verb"),
		callErrors:  counter("spawner_engine_call_errors_total", "Calls of Docker engines that failed, by the kind of the error.", "node", "verb", "kind"),

		edgeApplied: histogram("spawner_edge_apply_seconds", "From a change to its proof on every entry point of an edge.", applyBuckets, "edge"),
		edgeRefused: counter("spawner_edge_refused_total", "Documents that an edge refused, and services left out for it.", "edge", "service"),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "spawner_build_info", Help: "Always 1; its labels say what was built."}, []string{"version", "goversion"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(m.wakes, m.wakeSeconds, m.sleeps, m.restarts, m.jobs, m.jobSeconds, m.events, m.deliveries,
		m.probes, m.probeSeconds, m.probeLateness, m.callSeconds, m.callErrors, m.edgeApplied, m.edgeRefused, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Woke implements engine.Observer.
func (m *metrics) Woke(service string, depth fleet.SleepMode, took time.Duration, err error) {
	if err != nil {
		m.wakes.WithLabelValues(service, string(depth), string(fleet.KindOf(err))).Inc()
		return
	}
	m.wakes.WithLabelValues(service, string(depth), "ready").Inc()
	m.wakeSeconds.WithLabelValues(string(depth)).Observe(took.Seconds())
}

// Slept implements engine.Observer.
func (m *metrics) Slept(service string, depth fleet.SleepMode) {
	m.sleeps.WithLabelValues(service, string(depth)).Inc()
}

// Restarting implements engine.Observer.
func (m *metrics) Restarting(service string, reason engine.RestartReason) {
	m.restarts.WithLabelValues(service, string(reason)).Inc()
}

// JobEnded implements engine.Observer. With a service goes all that is counted of it.
func (m *metrics) JobEnded(job fleet.Job) {
	m.jobs.WithLabelValues(string(job.Kind), string(job.State)).Inc()
	if !job.StartedAt.IsZero() {
		m.jobSeconds.WithLabelValues(string(job.Kind)).Observe(job.EndedAt.Sub(job.StartedAt).Seconds())
	}
	if job.Kind == fleet.JobRemove && job.State == fleet.JobSucceeded {
		for _, counted := range []*prometheus.CounterVec{m.wakes, m.sleeps, m.restarts, m.edgeRefused} {
			counted.DeletePartialMatch(prometheus.Labels{"service": job.Service})
		}
	}
}

// Stored implements engine.Observer.
func (m *metrics) Stored(events []fleet.Event) {
	for _, event := range events {
		m.events.WithLabelValues(string(event.Type)).Inc()
	}
}

func (m *metrics) delivered(webhook string, what webhooks.Outcome) {
	m.deliveries.WithLabelValues(webhook, string(what)).Inc()
}

// forgetWebhook drops what is counted of a webhook that was removed, forgetNode of a node.
func (m *metrics) forgetWebhook(name string) {
	m.deliveries.DeletePartialMatch(prometheus.Labels{"webhook": name})
}

func (m *metrics) forgetNode(name string) {
	m.callSeconds.DeletePartialMatch(prometheus.Labels{"node": name})
	m.callErrors.DeletePartialMatch(prometheus.Labels{"node": name})
}

func (m *metrics) probed(p probes.Probed) {
	result := "success"
	if p.Err != nil {
		result = "failure"
	}
	m.probes.WithLabelValues(string(p.Type), result).Inc()
	m.probeSeconds.WithLabelValues(string(p.Type)).Observe(p.Took.Seconds())
	m.probeLateness.Observe(p.Late.Seconds())
}

// called counts a call of an engine. One whose caller left says nothing of the engine.
func (m *metrics) called(c docker.Call) {
	if errors.Is(c.Err, context.Canceled) {
		return
	}
	m.callSeconds.WithLabelValues(c.Node, c.Verb).Observe(c.Took.Seconds())
	if c.Err != nil {
		m.callErrors.WithLabelValues(c.Node, c.Verb, string(fleet.KindOf(c.Err))).Inc()
	}
}

func (m *metrics) applied(edge string, took time.Duration) {
	m.edgeApplied.WithLabelValues(edge).Observe(took.Seconds())
}

func (m *metrics) refused(edge, service string) {
	m.edgeRefused.WithLabelValues(edge, service).Inc()
}
