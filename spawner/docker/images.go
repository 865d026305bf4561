package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"edgespawner/fleet"
)

// importTimeout bounds an import, whose archive may come over a slow line.
const importTimeout = 10 * time.Minute

// Images brings images to nodes.
type Images struct{ pool *Pool }

// Images returns the view of the pool that brings images to nodes.
func (p *Pool) Images() *Images { return &Images{p} }

// Ensure makes sure that ref is on the node, by the policy, and returns it.
// A registry that cannot be reached, or does not have it, is no error while a
// local image serves and the policy is not always.
func (i *Images) Ensure(ctx context.Context, nodeName, ref string, policy fleet.PullPolicy) (fleet.Image, error) {
	n, err := i.pool.engine(ctx, nodeName)
	if err != nil {
		return fleet.Image{}, err
	}
	verb := "get image " + ref
	local, err := i.local(ctx, n, ref)
	have := err == nil
	if err != nil && !isNotFound(err) {
		return fleet.Image{}, translate(ctx, n, verb, err)
	}
	switch {
	case have && !asks(ref, policy):
		return local, nil
	case policy == fleet.PullNever:
		return fleet.Image{}, fail(err, fleet.NotFound, fieldImage, "image %s is not on node %s, and pull is never", ref, nodeName)
	case isImageID(ref):
		return fleet.Image{}, fail(err, fleet.NotFound, fieldImage, "image %s is not on node %s, and an id cannot be pulled", ref, nodeName)
	}
	patience := pullPatience
	if have && policy != fleet.PullAlways {
		patience = fallbackPatience
	}
	pulled := i.pull(ctx, n, ref, patience, have && policy != fleet.PullAlways)
	switch {
	case pulled == nil:
		local, err = i.local(ctx, n, ref)
		return local, translate(ctx, n, verb, err)
	case have && policy != fleet.PullAlways && ctx.Err() == nil:
		i.pool.log.Info("Using the local image", "node", nodeName, "image", ref, "error", pulled)
		return local, nil
	default:
		return fleet.Image{}, translate(ctx, n, verb, pulled)
	}
}

// asks says whether a registry is asked although the image is on the node.
func asks(ref string, policy fleet.PullPolicy) bool {
	switch policy {
	case fleet.PullAlways:
		return !isImageID(ref)
	case fleet.PullNever:
		return false
	default:
		return isLatest(ref)
	}
}

// isLatest says whether ref means the tag latest, written or not.
func isLatest(ref string) bool {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || isImageID(ref) {
		return false
	}
	if _, digested := named.(reference.Digested); digested {
		return false
	}
	tagged, ok := reference.TagNameOnly(named).(reference.Tagged)
	return ok && tagged.Tag() == "latest"
}

// isImageID says whether ref names an image by its own id.
func isImageID(ref string) bool { return strings.HasPrefix(ref, "sha256:") }

// local returns the image as it is on the node, or the SDK's error.
func (i *Images) local(ctx context.Context, n *node, ref string) (fleet.Image, error) {
	bounded, cancel := context.WithTimeout(ctx, infoTimeout)
	defer cancel()
	found, err := n.client.ImageInspect(bounded, ref)
	if err != nil {
		return fleet.Image{}, err
	}
	return describe(ref, found), nil
}

// Import makes an image from the tar archive of a root file system; it is of
// the engine's own platform.
func (i *Images) Import(ctx context.Context, nodeName, ref string, rootfs io.Reader, entrypoint []string) (fleet.Image, error) {
	var made fleet.Image
	err := i.pool.askWithin(ctx, importTimeout, nodeName, "import image "+ref, func(ctx context.Context, n *node) (err error) {
		made, err = i.imported(ctx, n, ref, rootfs, entrypoint)
		return err
	})
	return made, err
}

func (i *Images) imported(ctx context.Context, n *node, ref string, rootfs io.Reader, entrypoint []string) (fleet.Image, error) {
	var changes []string
	if len(entrypoint) > 0 {
		words, err := json.Marshal(entrypoint)
		if err != nil {
			return fleet.Image{}, err
		}
		changes = []string{"ENTRYPOINT " + string(words)}
	}
	answer, err := n.client.ImageImport(ctx, image.ImportSource{Source: rootfs, SourceName: "-"}, ref, image.ImportOptions{Changes: changes})
	if err != nil {
		return fleet.Image{}, err
	}
	defer answer.Close()
	if err := readProgress(answer, func() {}); err != nil {
		return fleet.Image{}, err
	}
	return i.local(ctx, n, ref)
}

// readProgress reads what an engine tells while it makes an image, calls heard
// at each line, and returns the error that it ends with.
func readProgress(r io.Reader, heard func()) error {
	decoder := json.NewDecoder(r)
	for {
		var line struct {
			Error       string `json:"error"`
			ErrorDetail struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		err := decoder.Decode(&line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the engine's progress: %w", err)
		}
		heard()
		if line.Error != "" {
			return pullError(line.ErrorDetail.Code, line.Error)
		}
	}
}

// describe is an image in our words.
func describe(ref string, found image.InspectResponse) fleet.Image {
	made := fleet.Image{Ref: ref, ID: found.ID, Digest: digestOf(ref, found.RepoDigests)}
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
