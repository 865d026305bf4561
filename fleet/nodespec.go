package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// NodeSpec is what a node is added with: the body of POST /api/nodes.
type NodeSpec struct {
	Name     string            `json:"name"`
	Endpoint string            `json:"endpoint"`          // unix:///path, tcp://host:port or ssh://user@host[:port][/path]
	Address  string            `json:"address,omitempty"` // IP by which edges and other nodes reach it; empty = the endpoint's
	Labels   map[string]string `json:"labels,omitempty"`
	TLS      *NodeTLS          `json:"tls,omitempty"` // of tcp://; nil = plain
	SSH      *NodeSSH          `json:"ssh,omitempty"` // of ssh://; nil = what the spawner's own user has
	// AllowPlainTCP accepts an engine of another machine that asks for no
	// certificate: whoever reaches its port is root there.
	AllowPlainTCP bool `json:"allow_plain_tcp,omitempty"`
	// JoinNetwork joins the engine in Docker's swarm, for one network over all
	// nodes that have joined.
	JoinNetwork bool `json:"join_network,omitempty"`
	// Update replaces what is known of a node of that name, if it is the same engine.
	Update bool `json:"update,omitempty"`
}

// NodeTLS is PEM text: how an engine is recognised, and what it is shown.
type NodeTLS struct {
	CA   string `json:"ca,omitempty"`   // empty = the system's
	Cert string `json:"cert,omitempty"` // empty = none is shown
	Key  Secret `json:"key,omitempty"`  // of Cert
}

// NodeSSH is how the spawner logs in to a node.
type NodeSSH struct {
	Key        Secret `json:"key,omitempty"`         // a private key without a passphrase; empty = the agent's and the spawner's own
	KnownHosts string `json:"known_hosts,omitempty"` // lines of a known_hosts file; empty = the spawner's own files
	HostKey    string `json:"host_key,omitempty"`    // SHA256:… of the only key that is accepted; empty = KnownHosts says
}

// StoredNode is a node as the store keeps it.
type StoredNode struct {
	Node
	AllowPlainTCP bool
	Joined        bool   // by the spawner, in Docker's swarm
	Sealed        []byte // NodeCredentials, encrypted; empty = none
}

// Unheard is the node before its engine has said anything: one that was joined
// shares networks with others already, although none can be used there yet.
func (s StoredNode) Unheard() Node {
	node := s.Node
	if s.Joined {
		node.Swarm = &NodeSwarm{Waits: "it has not been heard of yet"}
	}
	return node
}

// NodeCredentials are the secrets of a node. They are marshalled by Reveal alone.
type NodeCredentials struct {
	TLS *NodeTLS
	SSH *NodeSSH
}

// Credentials are the secrets of the spec.
func (s NodeSpec) Credentials() NodeCredentials { return NodeCredentials{TLS: s.TLS, SSH: s.SSH} }

// revealed is how credentials stand where they must be complete.
type revealed struct {
	TLS *revealedTLS `json:"tls,omitempty"`
	SSH *revealedSSH `json:"ssh,omitempty"`
}

type revealedTLS struct {
	NodeTLS
	Key string `json:"key,omitempty"` // stands before the redacted one
}

type revealedSSH struct {
	NodeSSH
	Key string `json:"key,omitempty"` // as above
}

func (c NodeCredentials) revealed() revealed {
	var r revealed
	if c.TLS != nil {
		r.TLS = &revealedTLS{*c.TLS, c.TLS.Key.Reveal()}
	}
	if c.SSH != nil {
		r.SSH = &revealedSSH{*c.SSH, c.SSH.Key.Reveal()}
	}
	return r
}

// Reveal is the JSON of the credentials with their secrets, for what encrypts them.
func (c NodeCredentials) Reveal() ([]byte, error) { return json.Marshal(c.revealed()) }

// Reveal is the body of a request with its secrets, for a client alone.
func (s NodeSpec) Reveal() ([]byte, error) {
	secrets := s.Credentials().revealed()
	return json.Marshal(struct {
		NodeSpec
		TLS *revealedTLS `json:"tls,omitempty"` // these stand before the redacted ones
		SSH *revealedSSH `json:"ssh,omitempty"`
	}{s, secrets.TLS, secrets.SSH})
}

// Host is the IP address in the endpoint; empty when it holds a name, or is a socket.
func (s NodeSpec) Host() string {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return ""
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil {
		return ""
	}
	return u.Hostname()
}

// Bounds of a node's words.
const (
	maxNodeLabels = 64
	maxLabelValue = 256
)

var (
	nodePattern    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)
	labelPattern   = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,126}[a-zA-Z0-9])?$`)
	hostKeyPattern = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)
)

// Validate reports every mistake that can be seen in the spec alone, each an
// *Error that names its field. What only the engine can tell is asked when it joins.
func (s NodeSpec) Validate() error {
	v := &validation{}
	v.check(nodePattern.MatchString(s.Name), "name", "%q is not a node's name: 1 to 63 letters, digits, and . _ - after the first", s.Name)
	scheme := s.validateEndpoint(v)
	if s.Address != "" {
		address, err := netip.ParseAddr(s.Address)
		v.check(err == nil && !address.IsUnspecified() && address.Zone() == "", "address", "%q is not the IP address of a machine", s.Address)
	}
	v.check(!s.JoinNetwork || s.Address != "" || s.Host() != "", "address", "is needed to join the network: the IP address by which the other nodes reach this one")
	v.check(len(s.Labels) <= maxNodeLabels, "labels", "has %d entries; at most %d are allowed", len(s.Labels), maxNodeLabels)
	for key, value := range s.Labels {
		v.check(key != NodeName, "labels."+key, "is the node's name, and cannot be given")
		v.check(labelPattern.MatchString(key), "labels."+key, "is not a key: 1 to 128 letters, digits, and . _ / - inside")
		v.check(len(value) <= maxLabelValue && !strings.ContainsFunc(value, isControl), "labels."+key, "is longer than %d bytes or holds a control character", maxLabelValue)
	}
	if s.TLS != nil {
		v.check(scheme == "tcp" || scheme == "", "tls", "goes with a tcp:// endpoint, not %s://", scheme)
		v.check((s.TLS.Cert == "") == (s.TLS.Key == ""), "tls.cert", "needs tls.key, and the other way round")
	}
	if s.SSH != nil {
		v.check(scheme == "ssh" || scheme == "", "ssh", "goes with an ssh:// endpoint, not %s://", scheme)
		v.check(s.SSH.HostKey == "" || hostKeyPattern.MatchString(s.SSH.HostKey), "ssh.host_key", "%q is not a key's fingerprint such as SHA256:… with 43 characters", s.SSH.HostKey)
		v.check(s.SSH.HostKey == "" || s.SSH.KnownHosts == "", "ssh.host_key", "goes without ssh.known_hosts")
	}
	return errors.Join(v.mistakes...)
}

// validateEndpoint returns the endpoint's scheme; empty when there is none that is known.
func (s NodeSpec) validateEndpoint(v *validation) string {
	u, err := url.Parse(s.Endpoint)
	if err == nil {
		_, secret := u.User.Password()
		v.check(!secret, "endpoint", "holds a password, which is not used: ssh goes by keys")
		switch {
		case u.Scheme == "unix" && strings.HasPrefix(u.Path, "/") && u.Host == "",
			u.Scheme == "tcp" && u.Hostname() != "" && u.Port() != "" && strings.Trim(u.Path, "/") == "",
			u.Scheme == "ssh" && u.Hostname() != "":
			return u.Scheme
		}
	}
	v.check(false, "endpoint", "%s is not of the form unix:///path/of.sock, tcp://host:port or ssh://user@host[:port][/path/of.sock]", shownEndpoint(s.Endpoint, err))
	return ""
}

// shownEndpoint keeps a password out of a message.
func shownEndpoint(endpoint string, err error) string {
	if err != nil || strings.Contains(endpoint, "@") {
		return "the endpoint"
	}
	return fmt.Sprintf("%q", endpoint)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
