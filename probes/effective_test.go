package probes

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestTheHealthCheckThatHolds(t *testing.T) {
	image := fleet.Image{Check: &fleet.ImageCheck{
		Command: []string{"/check"}, Interval: 6 * time.Second, Timeout: time.Second, StartPeriod: 5 * time.Second, Retries: 2,
	}}
	explicit := &fleet.HealthCheck{Type: fleet.CheckHTTP, Endpoint: "http://localhost/health", Interval: fleet.Duration(time.Second)}
	label := map[string]string{"healthcheck": "http://minion-1:9000/status"}
	docker := fleet.HealthCheck{
		Type: fleet.CheckDocker, Command: []string{"/check"}, Interval: fleet.Duration(6 * time.Second),
		Timeout: fleet.Duration(time.Second), StartPeriod: fleet.Duration(5 * time.Second), Retries: 2,
	}
	labelled := fleet.HealthCheck{
		Type: fleet.CheckHTTP, Endpoint: "http://minion-1:9000/status",
		Interval: fleet.DefaultInterval, Timeout: fleet.DefaultTimeout, Retries: fleet.DefaultRetries,
	}
	tcp := fleet.HealthCheck{
		Type: fleet.CheckTCP, Port: 9000,
		Interval: fleet.DefaultInterval, Timeout: fleet.DefaultTimeout, Retries: fleet.DefaultRetries,
	}
	none := fleet.HealthCheck{
		Type: fleet.CheckNone, Settle: fleet.DefaultSettlingDelay,
		Interval: fleet.DefaultInterval, Timeout: fleet.DefaultTimeout, Retries: fleet.DefaultRetries,
	}
	tests := []struct {
		name  string
		spec  fleet.Spec
		image fleet.Image
		port  int
		want  fleet.HealthCheck
	}{
		{"an explicit check wins over HEALTHCHECK and label", fleet.Spec{HealthCheck: explicit, Labels: label}, image, 9000, fleet.HealthCheck{
			Type: fleet.CheckHTTP, Endpoint: "http://localhost/health", Interval: fleet.Duration(time.Second), Timeout: fleet.DefaultTimeout, Retries: fleet.DefaultRetries,
		}},
		{"HEALTHCHECK wins over the label", fleet.Spec{Name: "minion-1", Labels: label}, image, 9000, docker},
		{"the label wins over the port", fleet.Spec{Name: "minion-1", Labels: label}, fleet.Image{}, 9000, labelled},
		{"the label's other spelling", fleet.Spec{Name: "minion-1", Labels: map[string]string{"health-check": "http://minion-1:9000/status"}}, fleet.Image{}, 9000, labelled},
		{"a label that names another host is no check", fleet.Spec{Name: "minion-2", Labels: label}, fleet.Image{}, 9000, tcp},
		{"else the port", fleet.Spec{}, fleet.Image{}, 9000, tcp},
		{"an instance of the older API settles instead", fleet.Spec{Direct: true}, fleet.Image{}, 9000, none},
		{"else the settling delay", fleet.Spec{}, fleet.Image{}, 0, none},
		{"HEALTHCHECK NONE is none", fleet.Spec{}, fleet.Image{Check: &fleet.ImageCheck{}}, 0, none},
		{"an explicit docker check takes the image's", fleet.Spec{HealthCheck: &fleet.HealthCheck{Type: fleet.CheckDocker}}, image, 0, docker},
		{"an explicit tcp check without port takes the route's", fleet.Spec{HealthCheck: &fleet.HealthCheck{Type: fleet.CheckTCP}}, image, 9000, tcp},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Defaults{}.Effective(test.spec, test.image, test.port)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnInstallationSetsTheDefaultsOfLabelledChecks(t *testing.T) {
	d := Defaults{
		Label:  fleet.HealthCheck{Interval: fleet.Duration(30 * time.Second), Timeout: fleet.Duration(time.Minute), OKStatus: []int{200}},
		Settle: fleet.Duration(time.Second),
	}
	got := d.Effective(fleet.Spec{Name: "m", Labels: map[string]string{"healthcheck": "http://m/"}}, fleet.Image{}, 0)
	want := fleet.HealthCheck{
		Type: fleet.CheckHTTP, Endpoint: "http://m/", Interval: fleet.Duration(30 * time.Second),
		Timeout: fleet.Duration(time.Minute), Retries: fleet.DefaultRetries, OKStatus: []int{200},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := d.Effective(fleet.Spec{}, fleet.Image{}, 0).Settle; got != fleet.Duration(time.Second) {
		t.Errorf("settling delay %s, want 1s", got)
	}
}
