package daemon

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// query is one PromQL expression of the example and where it stands.
type query struct{ where, expr string }

// monitoringFile reads a file of examples/monitoring.
func monitoringFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../examples/monitoring", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// alertQueries are those of the rules; each alert says something.
func alertQueries(t *testing.T) []query {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      struct{ Severity string }
				Annotations struct{ Summary string }
			}
		}
	}
	if err := yaml.Unmarshal(monitoringFile(t, "alerts.yml"), &file); err != nil {
		t.Fatal(err)
	}
	var list []query
	readme := string(monitoringFile(t, "README.md"))
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			list = append(list, query{rule.Alert, rule.Expr})
			if rule.Labels.Severity == "" || rule.Annotations.Summary == "" || !strings.Contains(readme, rule.Alert) {
				t.Errorf("the alert %s has no severity, no summary or no place in the README", rule.Alert)
			}
		}
	}
	return list
}

// dashboardQueries are those of the panels.
func dashboardQueries(t *testing.T) []query {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(monitoringFile(t, "grafana/spawner.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	var list []query
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			list = append(list, query{panel.Title, target.Expr})
		}
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("the panel %q asks for nothing", panel.Title)
		}
	}
	return list
}

// The parts of PromQL that the example is written in.
var (
	texts     = regexp.MustCompile(`"[^"]*"`)
	ranges    = regexp.MustCompile(`\[[^\]]*\]`)
	groupings = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
	selectors = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}`)
	labels    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	names     = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)(\s*\()?`)
	words     = []string{"and", "or", "unless", "offset", "sum", "by", "on"}
	numbers   = regexp.MustCompile(`\b[0-9][0-9a-z.]*\b`)
)

// parse returns the metrics of a query and the labels asked of each; those it groups by are asked of all.
func (q query) parse() map[string][]string {
	expr := texts.ReplaceAllString(q.expr, `""`)
	expr = ranges.ReplaceAllString(expr, "")
	found := map[string][]string{}
	for _, s := range selectors.FindAllStringSubmatch(expr, -1) {
		for _, label := range labels.FindAllStringSubmatch(s[2], -1) {
			found[s[1]] = append(found[s[1]], label[1])
		}
	}
	expr = selectors.ReplaceAllString(expr, "$1")
	var grouped []string
	for _, g := range groupings.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			grouped = append(grouped, strings.TrimSpace(label))
		}
	}
	expr = numbers.ReplaceAllString(groupings.ReplaceAllString(expr, ""), "")
	for _, name := range names.FindAllStringSubmatch(expr, -1) {
		if name[2] == "" && !slices.Contains(words, name[1]) {
			found[name[1]] = append(found[name[1]], grouped...)
		}
	}
	return found
}

func TestTheMonitoringExampleAsksOnlyForMetricsAndLabelsThatThereAre(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	r.metrics.exercise()
	known := map[string]string{"up": ""}
	maps.Copy(known, r.metrics.registered())
	gathered, err := r.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	histograms := map[string]bool{}
	for _, family := range gathered {
		if _, ours := known[family.GetName()]; !ours {
			known[family.GetName()] = "" // Go's and the process's own
		}
		histograms[family.GetName()] = family.GetType().String() == "HISTOGRAM"
	}
	seen := map[string]bool{}
	for _, q := range append(alertQueries(t), dashboardQueries(t)...) {
		metrics := q.parse()
		if len(metrics) == 0 {
			t.Errorf("%s: found no metric in %s", q.where, q.expr)
		}
		for name, asked := range metrics {
			base := name
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				if cut, has := strings.CutSuffix(name, suffix); has && histograms[cut] {
					base = cut
				}
			}
			has, exists := known[base]
			if !exists || base == name && histograms[base] {
				t.Errorf("%s asks for %s, which there is not", q.where, name)
				continue
			}
			seen[base] = true
			allowed := append(strings.Split(has, ","), "job", "instance")
			if strings.HasSuffix(name, "_bucket") {
				allowed = append(allowed, "le")
			}
			for _, label := range asked {
				if !slices.Contains(allowed, label) {
					t.Errorf("%s asks for the label %q of %s, which has %v", q.where, label, name, allowed)
				}
			}
		}
	}
	for name := range r.metrics.registered() {
		if !seen[name] {
			t.Errorf("neither an alert nor the dashboard shows %s", name)
		}
	}
}

func TestThePrometheusOfTheExampleReadsTheSpawnerWithAToken(t *testing.T) {
	var config struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string `yaml:"job_name"`
			MetricsPath   string `yaml:"metrics_path"`
			Authorization struct {
				CredentialsFile string `yaml:"credentials_file"`
			}
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(monitoringFile(t, "prometheus.yml"), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.RuleFiles) != 1 || len(monitoringFile(t, config.RuleFiles[0])) == 0 {
		t.Errorf("rule files: %v", config.RuleFiles)
	}
	first := config.ScrapeConfigs[0]
	if first.JobName != "spawner" || first.MetricsPath != "" || first.StaticConfigs[0].Targets[0] != "spawner:8008" {
		t.Errorf("the first job is %+v", first)
	}
	if ignored := strings.TrimSpace(string(monitoringFile(t, ".gitignore"))); ignored != first.Authorization.CredentialsFile {
		t.Errorf("the token stands in %q, git ignores %q", first.Authorization.CredentialsFile, ignored)
	}
}
