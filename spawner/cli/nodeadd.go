package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

// nodeFlags are the flags of node add.
type nodeFlags struct {
	spec          fleet.NodeSpec
	labels        []string
	ca, cert, key string // PEM files
	context       string // of the docker command
	sshKey        string // file
	sshKnown      string // file
	sshHostKey    string // fingerprint
}

func (f *nodeFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.spec.Endpoint, "endpoint", "", "the engine's `URL`: tcp://host:2376, ssh://user@host or unix:///path/of.sock")
	flags.StringVar(&f.context, "context", "", "take endpoint and certificates from this `context` of the docker command")
	flags.StringVar(&f.spec.Address, "address", "", "the `IP` address by which edges and other nodes reach it (default: the endpoint's)")
	flags.StringArrayVar(&f.labels, "label", nil, "a label as `KEY=VALUE`, for placement; may be repeated, and --update takes those named for all")
	flags.StringVar(&f.ca, "tls-ca", "", "the PEM `file` of the CA that signed the engine's certificate")
	flags.StringVar(&f.cert, "tls-cert", "", "the PEM `file` of the certificate that the spawner shows")
	flags.StringVar(&f.key, "tls-key", "", "the PEM `file` of its key")
	flags.StringVar(&f.sshKey, "ssh-key", "", "the `file` of a private key without a passphrase, for ssh:// (default: what the spawner's own user has)")
	flags.StringVar(&f.sshKnown, "ssh-known-hosts", "", "trust the keys in this known_hosts `file` (default: that of the spawner's own user)")
	flags.StringVar(&f.sshHostKey, "ssh-host-key", "", "trust the machine whose key has this `fingerprint`, SHA256:…, and no other")
	flags.BoolVar(&f.spec.AllowPlainTCP, "allow-plain-tcp", false, "accept tcp:// without certificates to another machine: whoever reaches that port is root there")
	flags.BoolVar(&f.spec.JoinNetwork, "join-network", false, "join the engine in Docker's swarm, for one network over all nodes that have joined")
	flags.BoolVar(&f.spec.Update, "update", false, "change what is known of a node that is there, such as its certificates; what is not named stays")
}

func (a *app) nodeAdd() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a Docker engine a node",
		Long: `Make a Docker engine a node: replicas are placed there from then on.

The spawner reaches it without an agent: by tcp:// with certificates, by ssh://,
or by a socket of its own machine. What is read from files here is sent to the
spawner, which keeps it encrypted. An engine that cannot be reached, is too old
or is a node already is refused, and nothing is changed.`,
		Example: `  spawner node add node-2 --endpoint tcp://10.0.0.2:2376 --tls-ca ca.pem --tls-cert cert.pem --tls-key key.pem
  spawner node add node-3 --endpoint ssh://deploy@10.0.0.3 --ssh-key spawner_ed25519 --ssh-host-key SHA256:…
  spawner node add node-4 --context backup --label zone=b`,
		Args: exactly("NAME"),
	}
	f.bind(cmd.Flags())
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if f.spec.Update {
			if err := f.fillFrom(cmd, c, args[0]); err != nil {
				return err
			}
		}
		spec, err := a.nodeSpec(cmd, args[0], f)
		if err != nil {
			return err
		}
		node, err := c.AddNode(cmd.Context(), spec)
		if err != nil {
			return err
		}
		if spec.JoinNetwork && !a.json {
			defer a.warnOfSoleManager(cmd.Context(), c)
		}
		return a.printNode(node, fmt.Sprintf("Node %s is there: engine %s, %s, %.1f GiB", node.Name, node.Version, fleet.Counted(node.CPUs, "CPU"), float64(node.MemoryMB)/1024))
	})
	return a.remote(cmd)
}

// warnOfSoleManager says after a node was added what the network that nodes share
// cannot bear yet. The node is there all the same, so that this fails is no error.
func (a *app) warnOfSoleManager(ctx context.Context, c *client.Client) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		fmt.Fprintf(a.Err, "cannot look at the network that nodes share: %s\n", printable(err.Error()))
		return
	}
	if risk := soleManager(nodes); risk != "" {
		fmt.Fprintln(a.Err, printable(risk))
	}
}

// fillFrom takes what an update does not name from the node as it is.
func (f *nodeFlags) fillFrom(cmd *cobra.Command, c *client.Client, name string) error {
	node, err := c.Node(cmd.Context(), name)
	if err != nil {
		return err
	}
	if f.context == "" && f.spec.Endpoint == "" {
		f.spec.Endpoint = node.Endpoint
	}
	if f.spec.Address == "" && f.spec.Endpoint == node.Endpoint {
		f.spec.Address = node.Address
	}
	if f.labels == nil {
		f.spec.Labels = node.Labels
	}
	return nil
}

// nodeSpec makes the request of a command line; files are read here.
func (a *app) nodeSpec(cmd *cobra.Command, name string, f nodeFlags) (fleet.NodeSpec, error) {
	spec := f.spec
	spec.Name = name
	if f.context != "" {
		if cmd.Flags().Changed("endpoint") {
			return spec, usagef(cmd, "--endpoint and --context both say where the engine is")
		}
		imported, err := a.dockerContext(f.context)
		if err != nil {
			return spec, err
		}
		spec.Endpoint, spec.TLS = imported.endpoint, imported.tls
	}
	if spec.Endpoint == "" {
		return spec, usagef(cmd, "--endpoint is missing, or --context")
	}
	for _, label := range f.labels {
		key, value, found := strings.Cut(label, "=")
		if !found || key == "" {
			return spec, usagef(cmd, "--label %q is not KEY=VALUE", label)
		}
		if spec.Labels == nil {
			spec.Labels = map[string]string{}
		}
		if _, twice := spec.Labels[key]; twice {
			return spec, usagef(cmd, "--label %s is given twice: one value for each key is allowed", key)
		}
		spec.Labels[key] = value
	}
	return spec, f.readFiles(&spec)
}

// part is a file whose text goes into a request.
type part struct {
	flag, path string
	take       func(text string)
}

func readParts(parts []part) error {
	for _, p := range parts {
		if p.path == "" {
			continue
		}
		text, err := os.ReadFile(p.path)
		if err != nil {
			return fmt.Errorf("cannot read --%s: %w", p.flag, err)
		}
		p.take(string(text))
	}
	return nil
}

// readFiles lays what the files hold over what a context gave.
func (f nodeFlags) readFiles(spec *fleet.NodeSpec) error {
	var tls fleet.NodeTLS
	if spec.TLS != nil {
		tls = *spec.TLS
	}
	ssh := fleet.NodeSSH{HostKey: f.sshHostKey}
	err := readParts([]part{
		{"tls-ca", f.ca, func(text string) { tls.CA = text }},
		{"tls-cert", f.cert, func(text string) { tls.Cert = text }},
		{"tls-key", f.key, func(text string) { tls.Key = fleet.Secret(text) }},
		{"ssh-key", f.sshKey, func(text string) { ssh.Key = fleet.Secret(text) }},
		{"ssh-known-hosts", f.sshKnown, func(text string) { ssh.KnownHosts = text }},
	})
	if tls != (fleet.NodeTLS{}) {
		spec.TLS = &tls
	}
	if ssh != (fleet.NodeSSH{}) {
		spec.SSH = &ssh
	}
	return err
}
