package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"edgespawner/fleet"
)

// BindFlags gives every setting its flag. The values that c holds are the
// flags' defaults.
func (c *Config) BindFlags(flags *pflag.FlagSet) {
	c.bindListeners(flags)
	c.bindNode(flags)
	c.bindEdges(flags)
	c.bindLimits(flags)
	c.Direct.bind(flags)
}

func (c *Config) bindListeners(flags *pflag.FlagSet) {
	flags.StringVar(&c.APIAddress, "api-address", c.APIAddress, "listen on `host:port` for the private API and metrics")
	flags.StringVar(&c.listenHost, "listen-address", c.listenHost, "older spelling: the `host` of --api-address")
	flags.IntVar(&c.listenPort, "port", c.listenPort, "older spelling: the `port` of --api-address")
	flags.StringVar(&c.APITLSCert, "api-tls-cert", c.APITLSCert, "serve the private API over TLS with the certificate in this PEM `file`")
	flags.StringVar(&c.APITLSKey, "api-tls-key", c.APITLSKey, "the PEM `file` with the key of --api-tls-cert")
	flags.StringVar(&c.FallbackAddress, "fallback-address", c.FallbackAddress, "listen on `host:port` for the public fallback router")
	flags.StringVar(&c.FallbackURL, "fallback-url", c.FallbackURL, "the `URL` of the fallback router as the edges reach it")
	flags.StringVar(&c.PasswordFile, "password-file", c.PasswordFile, "accounts: a `file` with lines of username,sha256hex(password)")
	flags.StringVar(&c.DirectAPIAuth, "direct-api-auth", c.DirectAPIAuth, "ask for a credential on the direct-routing API: `on|off`; off only on a loopback --api-address")
}

func (c *Config) bindNode(flags *pflag.FlagSet) {
	flags.StringVar(&c.StateDir, "state-dir", c.StateDir, "keep the database and the admin token in this `directory`")
	flags.StringVar(&c.Fleet, "fleet", c.Fleet, "adopt what carries this fleet `id` (default: the stored one, else a new one)")
	flags.StringVar(&c.DockerHost, "docker-host", c.DockerHost, "the engine's `URL` (default: DOCKER_HOST, else "+DefaultDockerHost+")")
	flags.StringVar(&c.NodeName, "node-name", c.NodeName, "the `name` of that engine's node")
	flags.StringVar(&c.NodeAddress, "node-address", c.NodeAddress, "the `IP` address by which edges and other nodes reach that engine's machine")
	flags.StringToStringVar(&c.NodeLabels, "node-label", c.NodeLabels, "labels of that node, for placement, as `KEY=VALUE[,…]`; may be repeated")
	flags.StringVar(&c.Network, "network", c.Network, "the `network` that replicas, edges and the spawner share")
	flags.TextVar(&c.Subnet, "subnet", c.Subnet, "the IPv4 `subnet` of --network when it has to be made (default: a free one)")
	flags.StringVar(&c.SandboxImage, "sandbox-image", c.SandboxImage, "the `image` of the container that keeps a replica's network")
	flags.StringVar(&c.SandboxBinary, "sandbox-binary", c.SandboxBinary, "import this static binary as --sandbox-image when that is missing (default: the `file` sandbox beside the executable)")
}

func (c *Config) bindEdges(flags *pflag.FlagSet) {
	flags.Var((*edgesValue)(&c.Edges), "edge", "an edge: `NAME=URL[,URL…]`; http URL = plain entry point, https URL = TLS entry point, metrics+http URL = Prometheus page; may be repeated")
	flags.Var((*secretValue)(&c.EdgeToken), "edge-token", "accept this `token` with scope edge")
	flags.StringVar(&c.EdgeTokenFile, "edge-token-file", c.EdgeTokenFile, "read --edge-token from this `file`")
	flags.BoolVar(&c.EdgeCatchAll, "edge-catch-all", c.EdgeCatchAll, "lead what no route matches to the fallback router")
	flags.BoolVar(&c.EdgeDefaultCertificate, "edge-default-certificate", c.EdgeDefaultCertificate, "give the edges a default certificate")
	flags.StringSliceVar(&c.PublicEntryPoints, "public-entrypoints", c.PublicEntryPoints, "the edges' entry points that routes may use, as `plain[,tls]`")
	flags.StringVar(&c.CertResolver, "cert-resolver", c.CertResolver, "the edges' ACME `resolver` for route.tls (default: none)")
	flags.StringVar(&c.ACMEEdge, "acme-edge", c.ACMEEdge, "the `name` of the edge that asks for certificates (default: the only edge)")
	flags.IntVar(&c.HTTPPort, "http-port", c.HTTPPort, "public `port` of the plain entry point, for printed URLs")
	flags.IntVar(&c.HTTPSPort, "https-port", c.HTTPSPort, "public `port` of the TLS entry point, for redirects and printed URLs")
	flags.BoolVar(&c.AllowForwardAuth, "allow-forward-auth", c.AllowForwardAuth, "accept forwardAuth middlewares in labels")
}

func (c *Config) bindLimits(flags *pflag.FlagSet) {
	flags.IntVar(&c.MaxHeld, "max-held", c.MaxHeld, "hold at most `n` requests at a time")
	flags.IntVar(&c.MaxStarts, "max-starts", c.MaxStarts, "start at most `n` apps at a time on a node; 0 = its number of cores")
	flags.DurationVar(&c.Failure.ProbeEvery, "node-probe-interval", c.Failure.ProbeEvery, "probe the replicas of a node whose engine is silent this often")
	flags.DurationVar(&c.Failure.SuspectAfter, "node-suspect-after", c.Failure.SuspectAfter, "take the routes off a silent node after this long without an answer from its replicas")
	flags.DurationVar(&c.Failure.DownAfter, "node-down-after", c.Failure.DownAfter, "place the replicas of such a node elsewhere after this long")
	flags.DurationVar(&c.Failure.Window, "node-silence-window", c.Failure.Window, "when most nodes fall silent within this time, declare none of them down and move nothing")
	flags.TextVar(&c.PortRange, "port-range", c.PortRange, "where nodes share no network, publish replicas on their nodes' addresses, on ports of this `range`")
	flags.IntVar(&c.WorkerCount, "worker-count", c.WorkerCount, "carry out `n` jobs at a time")
	flags.IntVar(&c.QueueSize, "queue-size", c.QueueSize, "let `n` jobs wait; more are refused")
	flags.DurationVar(&c.PullTimeout, "pull-timeout", c.PullTimeout, "give up bringing an image to a node after this long, attempts and pauses included")
	flags.IntVar(&c.EventsKeep, "events-keep", c.EventsKeep, "keep the newest `n` events; 0 = however many")
	flags.DurationVar(&c.EventsKeepFor, "events-keep-for", c.EventsKeepFor, "keep an event this long; 0s = however long")
	flags.TextVar(&c.LogLevel, "log-level", c.LogLevel, "log from this `level` on: debug, info, warn or error")
	flags.StringVar(&c.LogFormat, "log-format", c.LogFormat, "the form of the log: `text|json`")
	flags.DurationVar(&c.ShutdownTimeout, "shutdown-timeout", c.ShutdownTimeout, "at the end, wait this long for what is under way")
}

func (d *Direct) bind(flags *pflag.FlagSet) {
	flags.BoolVar(&d.PathRouting, "use-path-routing", d.PathRouting, "direct routing: by path")
	flags.BoolVar(&d.CookieRouting, "use-cookie-routing", d.CookieRouting, "direct routing: by cookie")
	flags.StringVar(&d.ContainerPrefix, "container-prefix", d.ContainerPrefix, "direct routing by path: a `path` in front of the container's name")
	flags.DurationVar(&d.RedirectTimeout, "redirect-timeout", d.RedirectTimeout, "direct routing: wait this long before the redirect where there is no health check")
	flags.StringVar(&d.CookieKey, "cookie-key", d.CookieKey, "direct routing by cookie: the `name` of the cookie")
	flags.StringVar(&d.CookieFallbackURL, "cookie-fallback-url", d.CookieFallbackURL, "direct routing by cookie: the `URL` for clients without a valid cookie (default: answer 404)")
	flags.DurationVar(&d.CheckInterval, "health-check-interval", d.CheckInterval, "direct routing: time between health checks")
	flags.IntVar(&d.CheckRetries, "health-check-retries", d.CheckRetries, "direct routing: `n` failures in a row make unhealthy")
	flags.IntVar(&d.ProbeOKStatus, "http-probe-ok-status", d.ProbeOKStatus, "direct routing: the `status` that is healthy")
	flags.DurationVar(&d.ProbeTimeout, "http-probe-timeout", d.ProbeTimeout, "direct routing: from start to healthy at most")
	flags.BoolVar(&d.TraefikCheck, "traefik-check-enabled", d.TraefikCheck, "direct routing: redirect only after the edge has confirmed the route")
	flags.StringVar(&d.TraefikBaseURL, "traefik-base-url", d.TraefikBaseURL, "accepted and not needed, whatever the `URL`: the edge confirms its routes by itself")
	flags.StringVar(&d.TraefikPlatform, "traefik-platform", d.TraefikPlatform, "accepted and not needed, whatever the `name`, as --traefik-base-url")
}

// EnvName returns the environment twin of a flag: SPAWNER_API_ADDRESS for api-address.
func EnvName(flag string) string {
	return "SPAWNER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// ReadEnvironment sets each flag that was not given from its twin in the
// environment. An empty twin counts as absent. All values that do not parse
// are reported at once.
func ReadEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var mistakes []error
	flags.VisitAll(func(flag *pflag.Flag) {
		name := EnvName(flag.Name)
		value, ok := lookup(name)
		if !ok || value == "" || flag.Changed {
			return
		}
		if err := setFromEnvironment(flags, flag, value); err != nil {
			mistakes = append(mistakes, fleet.InvalidField("--"+flag.Name+" ("+name+")", "%v", err))
		}
	})
	return errors.Join(mistakes...)
}

func setFromEnvironment(flags *pflag.FlagSet, flag *pflag.Flag, value string) error {
	values := []string{value}
	if edges, ok := flag.Value.(*edgesValue); ok {
		values = edges.split(value)
	}
	for _, value := range values {
		if err := flags.Set(flag.Name, value); err != nil {
			_ = flag.Value.Set(flag.DefValue) // half a value would be reported again by Validate
			return fmt.Errorf("cannot read %q: %w", shown(flag, value), cause(err))
		}
	}
	return nil
}

// cause takes away what a person does not need to know of an error of pflag.
func cause(err error) error {
	var number *strconv.NumError
	if errors.As(err, &number) {
		return number.Err
	}
	return cmp.Or(errors.Unwrap(err), err)
}

// shown keeps a secret out of an error.
func shown(flag *pflag.Flag, value string) string {
	if _, ok := flag.Value.(*secretValue); ok {
		return fleet.Redacted
	}
	return value
}

// Load completes what the parsed flags say: from the environment, from the file
// of the edge token, and by what one flag means for another.
func (c *Config) Load(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	mistakes := []error{ReadEnvironment(flags, lookup)}
	mistakes = append(mistakes, c.loadListener(flags), c.loadEdgeToken(flags))
	c.Direct.chooseRouting(flags)
	if c.DockerHost == "" {
		fromDocker, _ := lookup("DOCKER_HOST")
		c.DockerHost = cmp.Or(fromDocker, DefaultDockerHost)
	}
	c.Direct.ContainerPrefix = strings.TrimRight(c.Direct.ContainerPrefix, "/")
	return errors.Join(mistakes...)
}

// loadListener applies the older spelling of the API's address.
func (c *Config) loadListener(flags *pflag.FlagSet) error {
	hostGiven, portGiven := flags.Changed("listen-address"), flags.Changed("port")
	if !hostGiven && !portGiven {
		return nil
	}
	host, port, err := net.SplitHostPort(c.APIAddress)
	if err != nil {
		return nil // Validate says so
	}
	if hostGiven {
		host = strings.Trim(c.listenHost, "[]")
	}
	if portGiven {
		port = strconv.Itoa(c.listenPort)
	}
	address := net.JoinHostPort(host, port)
	if flags.Changed("api-address") && address != c.APIAddress {
		return fleet.InvalidField("--api-address", "%s and the older --listen-address and --port (%s) differ: give one of them", c.APIAddress, address)
	}
	c.APIAddress = address
	return nil
}

func (c *Config) loadEdgeToken(flags *pflag.FlagSet) error {
	if c.EdgeTokenFile == "" {
		return nil
	}
	if flags.Changed("edge-token") {
		return fleet.InvalidField("--edge-token-file", "is given together with --edge-token: give one of them")
	}
	data, err := os.ReadFile(c.EdgeTokenFile)
	if err != nil {
		return fleet.InvalidField("--edge-token-file", "cannot read it: %v", err)
	}
	c.EdgeToken = fleet.Secret(strings.TrimSpace(string(data)))
	if c.EdgeToken == "" {
		return fleet.InvalidField("--edge-token-file", "%s is empty", c.EdgeTokenFile)
	}
	return nil
}

// chooseRouting lets one of the two routing flags, given alone, decide the other.
func (d *Direct) chooseRouting(flags *pflag.FlagSet) {
	path, cookie := flags.Changed("use-path-routing"), flags.Changed("use-cookie-routing")
	switch {
	case path && !cookie:
		d.CookieRouting = !d.PathRouting
	case cookie && !path:
		d.PathRouting = !d.CookieRouting
	}
}

// TwoDashes spells long flags of the set that were written with one dash, as
// -use-path-routing=true, with two. What follows a lone -- is left alone.
func TwoDashes(flags *pflag.FlagSet, args []string) []string {
	spelled := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(spelled, args[i:]...)
		}
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' {
			name, _, _ := strings.Cut(arg[1:], "=")
			if len(name) > 1 && flags.Lookup(name) != nil {
				arg = "-" + arg
			}
		}
		spelled = append(spelled, arg)
	}
	return spelled
}

// secretValue is a flag that is never printed.
type secretValue fleet.Secret

func (v *secretValue) Set(text string) error { *v = secretValue(text); return nil }
func (v *secretValue) Type() string          { return "string" }
func (v *secretValue) String() string        { return "" }
