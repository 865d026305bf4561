package docker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"edgespawner/fleet"
)

// describe is an image in our words.
func describe(ref string, found image.InspectResponse) fleet.Image {
	made := fleet.Image{Ref: ref, ID: found.ID, Digest: digestOf(ref, found.RepoDigests), Platform: platform(found.Os, found.Architecture)}
	if found.Config == nil {
		return made
	}
	made.Entrypoint, made.Command, made.Labels = found.Config.Entrypoint, found.Config.Cmd, found.Config.Labels
	made.Check = checkOf(found.Config)
	for key := range found.Config.ExposedPorts {
		number, proto, _ := strings.Cut(key, "/")
		var port int
		if _, err := fmt.Sscanf(number, "%d", &port); err == nil && protocol(proto) == "tcp" {
			made.Ports = append(made.Ports, port)
		}
	}
	slices.Sort(made.Ports)
	return made
}

// digestOf picks the digest that the image has in ref's own repository.
func digestOf(ref string, digests []string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ""
	}
	for _, digest := range digests {
		if other, err := reference.ParseNormalizedNamed(digest); err == nil && other.Name() == named.Name() {
			return digest
		}
	}
	return ""
}

// Docker's own defaults of a HEALTHCHECK.
const (
	checkInterval = 30 * time.Second
	checkTimeout  = 30 * time.Second
	checkRetries  = 3
)

// checkOf is the image's HEALTHCHECK, ready to be executed; nil without one.
func checkOf(config *dockerspec.DockerOCIImageConfig) *fleet.ImageCheck {
	check := config.Healthcheck
	if check == nil || len(check.Test) < 2 {
		return nil
	}
	made := &fleet.ImageCheck{
		Interval: orDefault(check.Interval, checkInterval), Timeout: orDefault(check.Timeout, checkTimeout),
		StartPeriod: check.StartPeriod, Retries: orDefault(check.Retries, checkRetries),
	}
	switch check.Test[0] {
	case "CMD":
		made.Command = check.Test[1:]
	case "CMD-SHELL":
		shell := config.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		made.Command = append(slices.Clone(shell), check.Test[1])
	default:
		return nil
	}
	return made
}

func orDefault[T int | time.Duration](value, preset T) T {
	if value == 0 {
		return preset
	}
	return value
}
