package daemon

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"edgespawner/fleet"
)

// watch adds what is counted elsewhere and read when it is asked for.
func (m *metrics) watch(s *spawner) { m.registry.MustRegister(&state{spawner: s}) }

// state reads the parts at each scrape.
type state struct{ spawner *spawner }

var (
	descServices     = describe("spawner_services", "Services by status.", "status")
	descReplicas     = describe("spawner_replicas", "Replicas by Docker's word for their state.", "status")
	descStatus       = describe("spawner_service_status", "Always 1; its label says the status of the service.", "service", "status")
	descWanted       = describe("spawner_service_replicas_wanted", "Replicas that a service has when it is awake.", "service")
	descReady        = describe("spawner_service_replicas_ready", "Replicas of a service that are known to serve.", "service")
	descJobs         = describe("spawner_jobs_waiting", "Jobs that wait for their turn.")
	descRunning      = describe("spawner_jobs_running", "Jobs that are carried out now.")
	descTargets      = describe("spawner_probe_targets", "Replicas that are probed in the background.")
	descEdges        = describe("spawner_edge_connected", "1 while an edge polls, 0 when it is lost or has not come back.", "edge")
	descBehind       = describe("spawner_edge_unconfirmed_changes", "Changes of routes that an edge has not confirmed yet.", "edge")
	descNodes        = describe("spawner_node_state", "Always 1; its label says the state of the node.", "node", "state")
	descNodeReplicas = describe("spawner_node_replicas", "Replicas that are placed on a node, awake or not.", "node")
	descDraining     = describe("spawner_node_draining", "1 while a node gets nothing new and what is there is moved away.", "node")
	descEvents       = describe("spawner_event_followers", "Readers that are told each event as it is stored.")
	descLogs         = describe("spawner_log_followers", "Readers that are told each line of logs as it is written.")
	descHeld         = describe("spawner_held_requests", "Requests that wait for a service to wake.")
	descProxied      = describe("spawner_proxied_requests", "Requests that an app answers through the fallback router now.")
	descLegs         = describe("spawner_fallback_requests_total", "Requests at the fallback router by the way they came.", "leg")
	descWaited       = describe("spawner_held_seconds_total", "Time that requests have waited for services to wake.")
	descRedials      = describe("spawner_fallback_redials_total", "Attempts to connect to an app that were made again.")
	descOutcomes     = describe("spawner_fallback_outcomes_total", "Requests at the fallback router by how they ended.", "outcome")
	descriptions     = []*prometheus.Desc{
		descServices, descReplicas, descStatus, descWanted, descReady, descJobs, descRunning, descTargets, descEdges, descBehind,
		descNodes, descNodeReplicas, descDraining, descEvents, descLogs, descHeld, descProxied, descLegs, descWaited, descRedials, descOutcomes,
	}
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *state) Describe(out chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *state) Collect(out chan<- prometheus.Metric) {
	c.collectServices(out)
	c.collectEdges(out)
	c.collectNodes(out)
	c.collectFallback(out)
	load := c.spawner.engine.Load()
	gauge(out, descJobs, load.JobsWaiting)
	gauge(out, descRunning, load.JobsRunning)
	gauge(out, descEvents, load.EventFollowers)
	gauge(out, descLogs, load.LogFollowers)
	gauge(out, descTargets, c.spawner.prober.Watched())
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, value int, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
}

func count(out chan<- prometheus.Metric, d *prometheus.Desc, value uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func (c *state) collectServices(out chan<- prometheus.Metric) {
	services, replicas := map[fleet.Status]int{}, map[fleet.ContainerStatus]int{}
	for _, service := range c.spawner.engine.Services() {
		services[service.Status]++
		for _, container := range service.Containers {
			replicas[container.Status]++
		}
		gauge(out, descStatus, 1, service.Name, string(service.Status))
		gauge(out, descWanted, service.Replicas, service.Name)
		gauge(out, descReady, service.Ready(), service.Name)
	}
	for status, n := range services {
		gauge(out, descServices, n, string(status))
	}
	for status, n := range replicas {
		gauge(out, descReplicas, n, string(status))
	}
}

func (c *state) collectEdges(out chan<- prometheus.Metric) {
	newest := c.spawner.engine.Snapshot().Version
	for _, edge := range c.spawner.feed.Edges() {
		connected := 0
		if edge.State == "connected" {
			connected = 1
		}
		gauge(out, descEdges, connected, edge.Name)
		gauge(out, descBehind, int(newest-min(edge.Confirmed, newest)), edge.Name)
	}
}

func (c *state) collectNodes(out chan<- prometheus.Metric) {
	nodes, err := c.spawner.engine.Nodes(context.Background()) // as they are known: nobody is asked
	if err != nil {
		return // what is not known is not told
	}
	for _, node := range nodes {
		draining := 0
		if node.Draining {
			draining = 1
		}
		gauge(out, descNodes, 1, node.Name, string(node.State))
		gauge(out, descNodeReplicas, node.Replicas, node.Name)
		gauge(out, descDraining, draining, node.Name)
	}
}

func (c *state) collectFallback(out chan<- prometheus.Metric) {
	stats := c.spawner.fallback.Stats()
	gauge(out, descHeld, stats.Held)
	gauge(out, descProxied, int(stats.Proxied))
	out <- prometheus.MustNewConstMetric(descWaited, prometheus.CounterValue, stats.Waited.Seconds())
	count(out, descRedials, stats.Redials)
	for leg, n := range stats.Legs {
		count(out, descLegs, n, string(leg))
	}
	for outcome, n := range stats.Outcomes {
		count(out, descOutcomes, n, string(outcome))
	}
}
