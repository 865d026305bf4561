package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"

	"edgespawner/fleet"
)

// importTimeout bounds an import, whose archive may come over a slow line.
const importTimeout = 10 * time.Minute

// Images brings images to nodes.
type Images struct{ pool *Pool }

// Images returns the view of the pool that brings images to nodes.
func (p *Pool) Images() *Images { return &Images{p} }

// Ensure makes sure that ref is on the node, by the policy, and returns it.
// A registry that cannot be reached, or does not have it, is no error while the
// policy is not always and a local image serves, or one that another node has.
func (i *Images) Ensure(ctx context.Context, nodeName, ref string, policy fleet.PullPolicy) (found fleet.Image, err error) {
	defer i.pool.observed(nodeName, "get image", time.Now(), &err)
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
	case policy == fleet.PullNever || isImageID(ref):
		return fleet.Image{}, i.missing(n, ref, policy, err)
	}
	elsewhere, err := i.instead(ctx, n, ref, policy, have)
	if err != nil {
		return fleet.Image{}, err
	}
	fallback := have && policy != fleet.PullAlways || elsewhere != nil
	patience := i.pool.bounds.pull
	if fallback {
		patience = i.pool.bounds.fallback
	}
	pulled := i.pull(ctx, n, ref, patience, fallback)
	switch {
	case pulled == nil:
		local, err = i.local(ctx, n, ref)
		return local, translate(ctx, n, verb, err)
	case elsewhere != nil && ctx.Err() == nil:
		return i.bring(ctx, n, elsewhere, ref)
	case fallback && ctx.Err() == nil:
		i.pool.log.Info("Using the local image", "node", nodeName, "image", ref, "error", pulled)
		return local, nil
	default:
		return fleet.Image{}, translate(ctx, n, verb, pulled)
	}
}

// instead finds another node that has an image which its registry may not give; nil = none is needed, or there is none.
func (i *Images) instead(ctx context.Context, n *node, ref string, policy fleet.PullPolicy, have bool) (*holding, error) {
	if have || policy == fleet.PullAlways {
		return nil, nil
	}
	return i.findElsewhere(ctx, n, ref)
}

// Check says whether Ensure can succeed, without pulling: nil, NotFound when
// neither a node nor the registry has the image, Unavailable when it is on no
// node and its registry cannot be asked.
func (i *Images) Check(ctx context.Context, nodeName, ref string, policy fleet.PullPolicy) error {
	return i.pool.ask(ctx, nodeName, "check image "+ref, func(ctx context.Context, n *node) error {
		_, err := i.local(ctx, n, ref)
		switch {
		case err != nil && !isNotFound(err):
			return err
		case err == nil && (policy != fleet.PullAlways || isImageID(ref)):
			return nil
		case policy == fleet.PullNever || isImageID(ref):
			return i.missing(n, ref, policy, err)
		}
		refused := i.askRegistry(ctx, n, ref)
		if refused == nil || policy == fleet.PullAlways || ctx.Err() != nil {
			return refused
		}
		found, err := i.findElsewhere(ctx, n, ref)
		if found != nil || err != nil {
			return err
		}
		return refused
	})
}

// missing is the error for an image that is not on the node and may not be pulled.
func (i *Images) missing(n *node, ref string, policy fleet.PullPolicy, cause error) error {
	why := "an id cannot be pulled"
	if policy == fleet.PullNever {
		why = "pull is never"
	}
	return fail(cause, fleet.NotFound, fieldImage, "image %s is not on node %s, and %s", ref, n.name, why)
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
