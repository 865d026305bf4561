package docker

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"edgespawner/fleet"
)

// The oldest API that an engine may speak: that of engine 20.10.
const (
	oldestMajor = 1
	oldestMinor = 41
)

// Try asks an engine who it is, before it becomes a node. Errors are *Error and
// name the field of the node's spec: endpoint for an engine that is not reached
// or too old, tls… for certificates that do not match.
func (p *Pool) Try(ctx context.Context, n fleet.Node, options ...DialOption) (fleet.Node, error) {
	made, err := dial(n, options...)
	if err != nil {
		return fleet.Node{}, err
	}
	defer p.letGo(made)
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	version, err := made.client.ServerVersion(ctx)
	if err != nil {
		return fleet.Node{}, refusedJoin(ctx, made, err)
	}
	if tooOld(version.APIVersion) {
		return fleet.Node{}, fleet.InvalidField("endpoint", "the engine %s at %s is too old: it speaks API %s, and at least %d.%d (engine 20.10) is needed",
			version.Version, made.endpoint, version.APIVersion, oldestMajor, oldestMinor)
	}
	info, err := made.client.Info(ctx)
	if err != nil {
		return fleet.Node{}, refusedJoin(ctx, made, err)
	}
	return describeNode(n, info), nil
}

// refusedJoin says why an engine cannot become a node.
func refusedJoin(ctx context.Context, n *node, err error) error {
	if explained := explainTLS(n.endpoint, err); explained != nil {
		return explained
	}
	var key *hostKeyError
	var login *loginError
	switch {
	case errors.As(err, &key):
		return fail(err, fleet.Invalid, "ssh.host_key", "%s", key)
	case errors.As(err, &login):
		return fail(err, fleet.Invalid, "ssh.key", "%s", login)
	}
	told := translate(ctx, n, "reach the engine", err)
	switch seen := seenBy(told); {
	case seen == nil || seen.Kind == fleet.Internal:
		return fail(err, fleet.Invalid, "endpoint", "what answers at %s is no Docker engine", n.endpoint)
	case seen.Field == "":
		return fail(err, seen.Kind, "endpoint", "%s", seen.Message)
	}
	return told
}

// tooOld reads an API version such as 1.41; one that cannot be read is too old.
func tooOld(version string) bool {
	majorText, minorText, _ := strings.Cut(version, ".")
	major, majorErr := strconv.Atoi(majorText)
	minor, minorErr := strconv.Atoi(minorText)
	return majorErr != nil || minorErr != nil || major < oldestMajor || major == oldestMajor && minor < oldestMinor
}
