package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"edgespawner/fleet"
	"edgespawner/probes"
	"edgespawner/spawner/docker"
	"edgespawner/spawner/engine"
	"edgespawner/spawner/webhooks"
)

// exercise lets each metric that is counted have a value.
func (m *metrics) exercise() {
	m.Woke("web", fleet.SleepStop, 80*time.Millisecond, nil)
	m.Slept("web", fleet.SleepStop)
	m.Restarting("web", engine.RestartCrashed)
	now := time.Now()
	m.JobEnded(fleet.Job{Kind: fleet.JobDeploy, Service: "web", State: fleet.JobSucceeded, StartedAt: now, EndedAt: now.Add(2 * time.Second)})
	m.Stored([]fleet.Event{{Type: fleet.EventDeploy}, {Type: fleet.EventWake}})
	m.probed(probes.Probed{Type: fleet.CheckHTTP, Late: time.Millisecond, Took: 3 * time.Millisecond})
	m.called(docker.Call{Node: "local", Verb: "start_container", Took: time.Second, Err: fleet.Errorf(fleet.Unavailable, "away")})
	m.delivered("chat", webhooks.OutcomeDelivered)
	m.applied("main", 5*time.Millisecond)
	m.refused("main", "web")
}

// registered are the metrics of our own by name, with their labels.
func (m *metrics) registered() map[string]string {
	described := make(chan *prometheus.Desc)
	go func() {
		defer close(described)
		m.registry.Describe(described)
	}()
	form := regexp.MustCompile(`fqName: "(spawner_[^"]+)".* variableLabels: \{([^}]*)\}`)
	found := map[string]string{}
	for desc := range described {
		if parts := form.FindStringSubmatch(desc.String()); parts != nil {
			found[parts[1]] = parts[2]
		}
	}
	return found
}

func TestTheMetricsKeepPrometheusConventions(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	r.metrics.exercise()
	gathered, err := r.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(gathered).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
	var families []*dto.MetricFamily // of those that have no value yet, too
	for name := range r.metrics.registered() {
		kind, help := dto.MetricType_GAUGE, "x"
		if strings.HasSuffix(name, "_total") {
			kind = dto.MetricType_COUNTER
		}
		families = append(families, &dto.MetricFamily{Name: &name, Help: &help, Type: &kind})
	}
	problems, err = promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestTheDocsListTheMetricsThatThereAre(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	r.metrics.exercise()
	gathered, err := r.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, family := range gathered {
		types[family.GetName()] = strings.ToLower(family.GetType().String())
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\| .+ \\|$").FindAllStringSubmatch(string(page), -1) {
		labels := strings.Split(strings.NewReplacer("`", "", " ", "").Replace(row[3]), ",")
		written[row[1]] = strings.Join(labels, ",")
		if kind, has := types[row[1]]; has && kind != row[2] {
			t.Errorf("%s is a %s, the docs call it a %s", row[1], kind, row[2])
		}
	}
	if diff := cmp.Diff(r.metrics.registered(), written); diff != "" {
		t.Errorf("docs/metrics.md differs (-registered +written):\n%s", diff)
	}
}

// labelled are the metrics that have a value under a label.
func (m *metrics) labelled(t *testing.T, label, value string) (names []string) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, l := range metric.GetLabel() {
				if l.GetName() == label && l.GetValue() == value && !slices.Contains(names, family.GetName()) {
					names = append(names, family.GetName())
				}
			}
		}
	}
	return names
}

func TestTheMetricsOfWhatIsRemovedGoWithIt(t *testing.T) {
	for label, test := range map[string]struct {
		value        string
		counted      []string
		keep, remove func(m *metrics)
	}{
		"service": {
			"web", []string{"spawner_edge_refused_total", "spawner_restarts_total", "spawner_sleeps_total", "spawner_wakes_total"},
			func(m *metrics) {
				m.JobEnded(fleet.Job{Kind: fleet.JobRemove, Service: "web", State: fleet.JobFailed})
				m.JobEnded(fleet.Job{Kind: fleet.JobRemove, Service: "other", State: fleet.JobSucceeded})
			},
			func(m *metrics) {
				m.JobEnded(fleet.Job{Kind: fleet.JobRemove, Service: "web", State: fleet.JobSucceeded})
			},
		},
		"node": {
			"local", []string{"spawner_engine_call_errors_total", "spawner_engine_call_seconds"},
			func(m *metrics) { m.forgetNode("other") }, func(m *metrics) { m.forgetNode("local") },
		},
		"webhook": {
			"chat", []string{"spawner_webhook_deliveries_total"},
			func(m *metrics) { m.forgetWebhook("other") }, func(m *metrics) { m.forgetWebhook("chat") },
		},
	} {
		m := newMetrics("test")
		m.exercise()
		test.keep(m)
		if diff := cmp.Diff(test.counted, m.labelled(t, label, test.value)); diff != "" {
			t.Errorf("of a %s that stays (-want +got):\n%s", label, diff)
		}
		test.remove(m)
		if left := m.labelled(t, label, test.value); len(left) != 0 {
			t.Errorf("of a %s that was removed are left: %v", label, left)
		}
	}
}

func TestWhatIsToldIsCounted(t *testing.T) {
	m := newMetrics("1.2.3")
	m.exercise()
	m.Woke("web", fleet.SleepPause, time.Second, fleet.Errorf(fleet.BadGateway, "it ended"))
	m.called(docker.Call{Node: "local", Verb: "inspect_container", Took: time.Second, Err: context.Canceled})
	m.probed(probes.Probed{Type: fleet.CheckTCP, Err: errors.New("refused")})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&page, family); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{
		`spawner_wakes_total{mode="pause",outcome="bad_gateway",service="web"} 1`,
		`spawner_wakes_total{mode="stop",outcome="ready",service="web"} 1`,
		`spawner_wake_seconds_bucket{mode="stop",le="0.05"} 0`,
		`spawner_wake_seconds_bucket{mode="stop",le="0.1"} 1`,
		`spawner_sleeps_total{mode="stop",service="web"} 1`,
		`spawner_restarts_total{reason="crashed",service="web"} 1`,
		`spawner_jobs_total{kind="deploy",outcome="succeeded"} 1`,
		`spawner_job_seconds_sum{kind="deploy"} 2`,
		`spawner_events_total{type="wake"} 1`,
		`spawner_webhook_deliveries_total{outcome="delivered",webhook="chat"} 1`,
		`spawner_probes_total{result="failure",type="tcp"} 1`,
		`spawner_probes_total{result="success",type="http"} 1`,
		`spawner_probe_lateness_seconds_count 2`,
		`spawner_engine_call_seconds_sum{node="local",verb="start_container"} 1`,
		`spawner_engine_call_errors_total{kind="unavailable",node="local",verb="start_container"} 1`,
		`spawner_edge_apply_seconds_count{edge="main"} 1`,
		`spawner_edge_refused_total{edge="main",service="web"} 1`,
		fmt.Sprintf(`spawner_build_info{goversion=%q,version="1.2.3"} 1`, runtime.Version()),
	} {
		if !strings.Contains(page.String(), line+"\n") {
			t.Errorf("the page lacks %s", line)
		}
	}
	if strings.Contains(page.String(), `spawner_wake_seconds_count{mode="pause"}`) {
		t.Error("a wake that failed has a time")
	}
	if strings.Contains(page.String(), "inspect_container") {
		t.Error("a call whose caller left is counted")
	}
}
