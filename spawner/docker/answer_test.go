package docker

import (
	"testing"

	"github.com/docker/docker/api/types/container"
)

func TestTheLimitOfCPUsIsReadHoweverItIsSet(t *testing.T) {
	for name, test := range map[string]struct {
		given container.Resources
		want  int
	}{
		"none":                {container.Resources{CPUShares: 512}, 0},
		"--cpus 1.5":          {container.Resources{NanoCPUs: 1_500_000_000}, 1500},
		"--cpu-quota":         {container.Resources{CPUQuota: 50_000}, 500},
		"with --cpu-period":   {container.Resources{CPUQuota: 50_000, CPUPeriod: 25_000}, 2000},
		"a period alone":      {container.Resources{CPUPeriod: 25_000}, 0},
		"a quota without end": {container.Resources{CPUQuota: -1}, 0},
		"a hundredth":         {container.Resources{NanoCPUs: 10_000_000}, 10},
	} {
		base := &container.ContainerJSONBase{HostConfig: &container.HostConfig{Resources: test.given}}
		if got := inspected("local", container.InspectResponse{ContainerJSONBase: base}).MilliCPUs; got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}
