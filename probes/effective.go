package probes

import (
	"slices"

	"edgespawner/fleet"
)

// Defaults is what an installation may set for the checks that no spec spells out.
type Defaults struct {
	// Label holds interval, timeout, retries and accepted statuses of the checks
	// that come from a label; zero fields are the product's own defaults.
	Label fleet.HealthCheck
	// Settle is the settling delay of a service without any check; 0 = fleet.DefaultSettlingDelay.
	Settle fleet.Duration
}

// Effective returns the health check that holds for a service, complete with
// its defaults: the spec's own; else the image's HEALTHCHECK; else the label of
// the older API, if its URL is one that may be asked; else a dial of the
// service's port; else a settling delay. An instance of the older API is not
// dialled: there the delay is what is promised.
func (d Defaults) Effective(spec fleet.Spec, image fleet.Image, port int) fleet.HealthCheck {
	return d.choose(spec, image, port).WithDefaults()
}

func (d Defaults) choose(spec fleet.Spec, image fleet.Image, port int) fleet.HealthCheck {
	if spec.HealthCheck != nil {
		check := *spec.HealthCheck
		if check.Type == fleet.CheckDocker {
			return fromImage(check, image.Check)
		}
		if check.Type == fleet.CheckTCP && check.Port == 0 {
			check.Port = port
		}
		return check
	}
	if image.Check != nil && len(image.Check.Command) > 0 {
		return fromImage(fleet.HealthCheck{Type: fleet.CheckDocker}, image.Check)
	}
	if endpoint, ok := labelled(spec); ok {
		check := d.Label
		check.Type, check.Endpoint = fleet.CheckHTTP, endpoint
		return check
	}
	if port != 0 && !spec.Direct {
		return fleet.HealthCheck{Type: fleet.CheckTCP, Port: port}
	}
	return fleet.HealthCheck{Type: fleet.CheckNone, Settle: d.Settle}
}

// labelled returns the endpoint that a label of the older API names.
func labelled(spec fleet.Spec) (endpoint string, ok bool) {
	for _, label := range fleet.CheckLabels {
		value := spec.Labels[label]
		if _, err := fleet.ParseEndpoint(value, spec.Name); err == nil {
			return value, true
		}
	}
	return "", false
}

// fromImage fills in what the image's HEALTHCHECK says and check does not.
func fromImage(check fleet.HealthCheck, image *fleet.ImageCheck) fleet.HealthCheck {
	if image == nil {
		return check
	}
	check.Command = slices.Clone(image.Command)
	fill(&check.Interval, fleet.Duration(image.Interval))
	fill(&check.Timeout, fleet.Duration(image.Timeout))
	fill(&check.StartPeriod, fleet.Duration(image.StartPeriod))
	fill(&check.Retries, image.Retries)
	return check
}

// fill sets a field that is zero.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
