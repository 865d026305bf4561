package docker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"

	"edgespawner/fleet"
)

const fieldImage = "image"

const (
	stallPatience = 2 * time.Minute // between two signs of a pull's progress
	silenceMemory = time.Minute     // how long a registry that was silent is not asked again
)

// errSilent is a registry that says nothing.
var errSilent = errors.New("the registry does not answer")

// silence remembers registries that lately could not be reached, so that
// many deploys of local images do not each wait for the same one.
type silence struct {
	mu    sync.Mutex
	until map[string]time.Time // by the registry's host
}

func (s *silence) lasts(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.until[host])
}

func (s *silence) set(host string, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !silent {
		delete(s.until, host)
		return
	}
	if s.until == nil {
		s.until = make(map[string]time.Time)
	}
	s.until[host] = time.Now().Add(silenceMemory)
}

// pull asks ref's registry for it. The registry must say something within
// patience and go on doing so; with fallback one that was silent a moment ago
// is not asked at all.
func (i *Images) pull(ctx context.Context, n *node, ref string, patience time.Duration, fallback bool) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return fail(err, fleet.Invalid, fieldImage, "%q is no image reference: %v", ref, err)
	}
	host := reference.Domain(named)
	if fallback && n.silence.lasts(host) {
		return errSilent
	}
	auth, err := i.pool.credentials(host)
	if err != nil {
		i.pool.log.Warn("Cannot use the login file", "image", ref, "error", err)
	}
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer stall.Stop()
	err = pullWatched(watched, n, ref, auth, func() { stall.Reset(stallPatience) })
	if errors.Is(context.Cause(watched), errSilent) {
		err = errSilent
	}
	if ctx.Err() == nil {
		n.silence.set(host, unreachable(err))
	}
	return explainRegistry(ctx, n, host, ref, err)
}

// explainRegistry says whether a registry was out of reach or refused.
func explainRegistry(ctx context.Context, n *node, host, ref string, err error) error {
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case unreachable(err):
		return fail(err, fleet.Unavailable, fieldImage, "image %s cannot be had: its registry %s cannot be reached from node %s: %s", ref, host, n.name, engineMessage(err))
	case registryFails.MatchString(err.Error()):
		return fail(err, fleet.Unavailable, fieldImage, "image %s cannot be had now: its registry %s fails: %s", ref, host, engineMessage(err))
	case registryBusy.MatchString(err.Error()):
		return fail(err, fleet.Busy, fieldImage, "image %s cannot be had now: its registry %s asks for a pause: %s", ref, host, engineMessage(err))
	case isNotFound(err) || cerrdefs.IsPermissionDenied(err) || cerrdefs.IsUnauthorized(err):
		return fail(err, fleet.NotFound, fieldImage, "the registry %s does not give out image %s (is its name right, and does docker login know the registry?): %s", host, ref, engineMessage(err))
	default:
		return err
	}
}

// What engines say when a registry answered 5xx or 429, which may be different
// the next time. Their wording changes with the version and the image store.
var (
	registryFails = regexp.MustCompile(`(?i)(?:http status|parsing http|unexpected status[^:]*|status from \w+ request to \S+):? 5\d\d\b`)
	registryBusy  = regexp.MustCompile(`(?i)toomanyrequests|too many requests|(?:http status|parsing http|unexpected status[^:]*|status from \w+ request to \S+):? 429\b`)
)

// askRegistry asks ref's registry, through the node's engine, whether it has
// the image; nothing is pulled.
func (i *Images) askRegistry(ctx context.Context, n *node, ref string) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return fail(err, fleet.Invalid, fieldImage, "%q is no image reference: %v", ref, err)
	}
	host := reference.Domain(named)
	auth, err := i.pool.credentials(host)
	if err != nil {
		i.pool.log.Warn("Cannot use the login file", "image", ref, "error", err)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, i.pool.bounds.check, errSilent)
	defer cancel()
	_, err = n.client.DistributionInspect(bounded, reference.TagNameOnly(named).String(), auth)
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(bounded), errSilent):
		err = errSilent
	default:
		err = pullError(0, err.Error(), err)
	}
	return explainRegistry(ctx, n, host, ref, err)
}

func pullWatched(ctx context.Context, n *node, ref, auth string, heard func()) error {
	progress, err := n.client.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return pullError(0, err.Error(), err)
	}
	defer progress.Close()
	heard()
	return readProgress(progress, heard)
}

// pullError reads a refusal by its text too: engines answer 500 to what a
// registry does not have, and tell errors late in the stream with no code.
func pullError(code int, message string, cause ...error) error {
	text := strings.ToLower(message)
	missing := code == 404
	for _, words := range []string{"manifest unknown", "not found", "does not exist", "unauthorized", "access denied", "denied:", "no matching manifest"} {
		missing = missing || strings.Contains(text, words)
	}
	err := errors.New(message)
	if len(cause) > 0 {
		err = cause[0]
	}
	if missing && !isNotFound(err) {
		return fmt.Errorf("%w: %w", cerrdefs.ErrNotFound, err)
	}
	return err
}

// unreachable says whether err is about the way to the registry.
func unreachable(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, errSilent) {
		return true
	}
	text := strings.ToLower(err.Error())
	for _, words := range []string{
		"connection refused", "no such host", "i/o timeout", "tls handshake timeout", "network is unreachable", "no route to host",
		"request canceled while waiting for connection", "client.timeout exceeded", "server misbehaving", "connection reset by peer",
		"temporary failure in name resolution", "context deadline exceeded", "server gave http response to https client",
		"unexpected eof", ": eof",
	} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}
