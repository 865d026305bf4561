package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"edgespawner/fleet"
)

// failure is an *fleet.Error that keeps its cause for errors.Is.
type failure struct {
	seen   *fleet.Error
	cause  error
	reason string // why an engine cannot be asked, without what was tried on which node; else empty
}

func (f *failure) Error() string   { return f.seen.Error() }
func (f *failure) Unwrap() []error { return []error{f.seen, f.cause} }

// fail makes an error that a person sees.
func fail(cause error, kind fleet.Kind, field, format string, args ...any) error {
	return &failure{seen: &fleet.Error{Kind: kind, Field: field, Message: fmt.Sprintf(format, args...)}, cause: cause}
}

// unreached makes the error of a call to an engine that cannot be asked.
func unreached(cause error, n *node, verb, format string, args ...any) error {
	reason := fmt.Sprintf(format, args...)
	seen := fleet.Errorf(fleet.Unavailable, "cannot %s on node %s: %s", verb, n.name, reason)
	return &failure{seen: seen, cause: cause, reason: reason}
}

// onlyReason is an error for who says himself which node does not answer: of a
// call to an engine that cannot be asked, why that is.
func onlyReason(err error) error {
	var f *failure
	if !errors.As(err, &f) || f.reason == "" {
		return err
	}
	return &failure{seen: &fleet.Error{Kind: f.seen.Kind, Message: f.reason}, cause: err}
}

// seenBy returns the *fleet.Error that err wraps; nil when there is none.
func seenBy(err error) *fleet.Error {
	var seen *fleet.Error
	if errors.As(err, &seen) {
		return seen
	}
	return nil
}

// translate gives an error of the SDK the kind and the words that leave this
// package. ctx is the caller's: when it was cancelled, its error is what is told.
func translate(ctx context.Context, n *node, verb string, err error) error {
	var seen *fleet.Error
	var dial *dialError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &seen):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("cannot %s on node %s: %w", verb, n.name, context.Canceled)
	case errors.As(err, &dial):
		return unreached(err, n, verb, "%s", dial.line)
	case errors.Is(err, context.DeadlineExceeded):
		return unreached(err, n, verb, "the engine at %s did not answer in time", n.endpoint)
	case client.IsErrConnectionFailed(err), brokenOff(err):
		return unreached(err, n, verb, "the engine at %s does not answer", n.endpoint)
	}
	message := engineMessage(err)
	kind, field := classify(err, message)
	if kind == fleet.Unavailable && field == "networks" && lateSwarm.MatchString(message) {
		message = "its swarm did not give it the network in time: " + mayLackLeader + ": " + message
	}
	return fail(err, kind, field, "cannot %s on node %s: %s", verb, n.name, message)
}

// brokenOff says whether a connection ended in the middle of an answer.
func brokenOff(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// longID is an id in full, of which people need twelve digits.
var longID = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{52}\b`)

// engineMessage is the engine's own text in one line.
func engineMessage(err error) string {
	text := strings.ReplaceAll(err.Error(), "Error response from daemon: ", "")
	return longID.ReplaceAllString(strings.Join(strings.Fields(text), " "), "$1")
}

// reading is one row of what engines say: a pattern of the message, and what it means.
type reading struct {
	pattern *regexp.Regexp
	kind    fleet.Kind
	field   string
}

// readings are tried in order, before the status code: engines answer 500 to
// much that is no fault of theirs, and their codes change with the version.
var readings = []reading{
	{regexp.MustCompile(`(?i)port is already allocated|external connectivity.*address already in use|: bind: address already in use|failed to bind host port`), fleet.Conflict, "host_port"},
	{regexp.MustCompile(`(?i)address already in use|no available IPv4 addresses on this network's address pools`), fleet.Conflict, "address"},
	{regexp.MustCompile(`(?i)pool overlaps with other one|invalid pool request|overlaps with existing`), fleet.Conflict, "subnet"},
	{regexp.MustCompile(`(?i)could not find an available.*address pool|address pools have been fully subnetted`), fleet.Unavailable, "subnet"},
	{regexp.MustCompile(`(?i)cannot join network of a non running container|cannot join network namespace of a non running container|joining network namespace of container.*not running`), fleet.Conflict, "sandbox"},
	{regexp.MustCompile(`(?i)no such image`), fleet.NotFound, "image"},
	{regexp.MustCompile(`(?i)could not attach to network .*(deadline exceeded|code = Unavailable|does not have a leader)|attaching to network failed|invalid cluster node while attaching`), fleet.Unavailable, "networks"}, // its swarm has no leader, or it has not found it yet
	{regexp.MustCompile(`(?i)could not attach to network|network \S+ not found|no such network`), fleet.NotFound, "networks"},
	{regexp.MustCompile(`(?i)container name .* is already in use`), fleet.Conflict, "name"},
	{regexp.MustCompile(`(?i)network with name .* already exists`), fleet.Conflict, "name"},
	{regexp.MustCompile(`(?i)no command specified|executable file not found|exec: .*(no such file or directory|permission denied)|exec format error`), fleet.Invalid, "command"},
	{regexp.MustCompile(`(?i)unable to find user|no matching entries in (passwd|group) file`), fleet.Invalid, "user"},
	{regexp.MustCompile(`(?i)minimum memory limit`), fleet.Invalid, "resources.memory_mb"},
	{regexp.MustCompile(`(?i)invalid reference format`), fleet.Invalid, "image"},
	{regexp.MustCompile(`(?i)marked for removal|removal of container .* is already in progress`), fleet.Conflict, ""},
	{regexp.MustCompile(`(?i)is not running|is not paused|is already paused|is paused|paused container|is restarting|cannot resume a running process|has active endpoints`), fleet.Conflict, ""},
	{regexp.MustCompile(`(?i)device or resource busy|resource temporarily unavailable|too many open files|ttrpc: closed|containerd\.sock|is shutting down|context deadline exceeded`), fleet.Unavailable, ""}, // the engine is busy or on its way down or up
	{regexp.MustCompile(`(?i)OCI runtime create failed`), fleet.Invalid, ""},
}

// lateSwarm is in what an engine says whose swarm has not let a container on a network.
var lateSwarm = regexp.MustCompile(`(?i)deadline exceeded|code = Unavailable|does not have a leader`)

// classify says what kind of error the engine answered, and about what.
func classify(err error, message string) (fleet.Kind, string) {
	for _, r := range readings {
		if r.pattern.MatchString(message) {
			return r.kind, r.field
		}
	}
	switch {
	case cerrdefs.IsNotFound(err):
		return fleet.NotFound, ""
	case cerrdefs.IsConflict(err):
		return fleet.Conflict, ""
	case cerrdefs.IsInvalidArgument(err):
		return fleet.Invalid, ""
	case cerrdefs.IsPermissionDenied(err), cerrdefs.IsUnauthorized(err):
		return fleet.Forbidden, ""
	case cerrdefs.IsUnavailable(err):
		return fleet.Unavailable, ""
	default:
		return fleet.Internal, ""
	}
}

// isNotFound says whether the engine does not have what was asked for.
func isNotFound(err error) bool { return cerrdefs.IsNotFound(err) }
