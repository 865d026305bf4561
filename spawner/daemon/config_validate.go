package daemon

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/access"
)

// mistakes collects what is wrong with a configuration.
type mistakes []error

func (m *mistakes) addf(flag, format string, args ...any) {
	*m = append(*m, fleet.InvalidField("--"+flag, format, args...))
}

// checkf adds a mistake unless ok.
func (m *mistakes) checkf(ok bool, flag, format string, args ...any) {
	if !ok {
		m.addf(flag, format, args...)
	}
}

// Validate reports all mistakes of a loaded configuration at once, each as a
// *fleet.Error that names its flag. It looks at the files that are named.
func (c Config) Validate() error {
	var m mistakes
	c.validateListeners(&m)
	c.validateNode(&m)
	c.validateEdges(&m)
	c.validateLimits(&m)
	c.Direct.validate(&m)
	return errors.Join(m...)
}

func (c Config) validateListeners(m *mistakes) {
	m.address("api-address", c.APIAddress)
	m.address("fallback-address", c.FallbackAddress)
	m.checkf(c.APIAddress != c.FallbackAddress || strings.HasSuffix(c.APIAddress, ":0"), "fallback-address",
		"%s is the private API's address too", c.FallbackAddress)
	switch {
	case (c.APITLSCert == "") != (c.APITLSKey == ""):
		m.addf("api-tls-cert", "needs --api-tls-key, and the other way round")
	case c.APITLSCert != "":
		m.file("api-tls-cert", c.APITLSCert)
		m.file("api-tls-key", c.APITLSKey)
	}
	m.origin("fallback-url", c.FallbackURL)
	if c.PasswordFile != "" {
		m.file("password-file", c.PasswordFile)
	}
	switch c.DirectAPIAuth {
	case "on":
	case "off":
		m.checkf(c.APILoopback(), "direct-api-auth", "off is allowed only where --api-address is a loopback address, not %s", c.APIAddress)
	default:
		m.addf("direct-api-auth", "is on or off, not %q", c.DirectAPIAuth)
	}
}

func (c Config) validateNode(m *mistakes) {
	m.checkf(c.StateDir != "", "state-dir", "is empty")
	m.checkf(c.Fleet == "" || isName(c.Fleet), "fleet", "%q: %s", c.Fleet, nameRule)
	m.checkf(isName(c.NodeName), "node-name", "%q: %s", c.NodeName, nameRule)
	err := fleet.NodeSpec{Name: "own", Endpoint: DefaultDockerHost, Address: c.NodeAddress}.Validate()
	m.checkf(err == nil, "node-address", "%v", err)
	err = fleet.NodeSpec{Name: "own", Endpoint: DefaultDockerHost, Labels: c.NodeLabels}.Validate()
	m.checkf(err == nil, "node-label", "%v", err)
	m.checkf(isName(c.Network), "network", "%q: %s", c.Network, nameRule)
	m.checkf(c.SandboxImage != "", "sandbox-image", "is empty")
	if c.SandboxBinary != "" {
		m.file("sandbox-binary", c.SandboxBinary)
	}
	scheme, rest, _ := strings.Cut(c.DockerHost, "://")
	m.checkf(slices.Contains([]string{"unix", "tcp", "ssh"}, scheme) && rest != "", "docker-host",
		"%q is not a URL such as %s, tcp://host:2376 or ssh://user@host", c.DockerHost, DefaultDockerHost)
	if c.Subnet.IsValid() {
		m.checkf(c.Subnet.Addr().Is4() && c.Subnet == c.Subnet.Masked() && c.Subnet.Bits() <= maxSubnetBits, "subnet",
			"%s is not an IPv4 network of /%d or wider, such as 10.210.0.0/16", c.Subnet, maxSubnetBits)
	}
}

// maxSubnetBits leaves room for the engine's own addresses and some replicas.
const maxSubnetBits = 26

func (c Config) validateEdges(m *mistakes) {
	count := len(c.PublicEntryPoints)
	m.checkf(count == 1 || count == 2, "public-entrypoints", "takes the plain entry point and, after a comma, the one with TLS; %d were given", count)
	for _, name := range c.PublicEntryPoints {
		m.checkf(isName(name), "public-entrypoints", "%q: %s", name, nameRule)
	}
	m.checkf(count != 2 || c.PublicEntryPoints[0] != c.PublicEntryPoints[1], "public-entrypoints", "the same one is given twice")
	m.checkf(c.CertResolver == "" || isName(c.CertResolver), "cert-resolver", "%q: %s", c.CertResolver, nameRule)
	m.checkf(c.CertResolver == "" || c.WebSecure() != "", "cert-resolver", "needs an entry point with TLS in --public-entrypoints")
	m.checkf(c.ACMEEdge == "" || isName(c.ACMEEdge), "acme-edge", "%q: %s", c.ACMEEdge, nameRule)
	m.checkf(c.EdgeToken == "" || len(c.EdgeToken) >= access.ShortestToken, "edge-token", "has %d characters; at least %d are needed", len(c.EdgeToken), access.ShortestToken)
	m.port("http-port", c.HTTPPort)
	m.port("https-port", c.HTTPSPort)
}

func (c Config) validateLimits(m *mistakes) {
	m.atLeast("max-held", c.MaxHeld, 1)
	m.atLeast("max-starts", c.MaxStarts, 0)
	m.positive("node-probe-interval", c.Failure.ProbeEvery)
	m.positive("node-suspect-after", c.Failure.SuspectAfter)
	m.checkf(c.Failure.DownAfter >= c.Failure.SuspectAfter, "node-down-after", "is shorter than --node-suspect-after")
	m.positive("node-silence-window", c.Failure.Window)
	m.checkf(0 < c.PortRange.First && c.PortRange.First <= c.PortRange.Last && c.PortRange.Last < 1<<16, "port-range",
		"%d-%d is not a range of ports from 1 to 65535", c.PortRange.First, c.PortRange.Last)
	m.atLeast("worker-count", c.WorkerCount, 1)
	m.atLeast("queue-size", c.QueueSize, 1)
	m.atLeast("events-keep", c.EventsKeep, 0)
	m.checkf(c.EventsKeepFor >= 0, "events-keep-for", "is negative")
	m.positive("pull-timeout", c.PullTimeout)
	m.checkf(c.LogFormat == "text" || c.LogFormat == "json", "log-format", "is text or json, not %q", c.LogFormat)
	m.positive("shutdown-timeout", c.ShutdownTimeout)
}

func (d Direct) validate(m *mistakes) {
	m.checkf(d.PathRouting != d.CookieRouting, "use-path-routing", "exactly one of --use-path-routing and --use-cookie-routing is true")
	m.checkf(d.ContainerPrefix == "" || prefixPattern.MatchString(d.ContainerPrefix), "container-prefix", "%q is not a path such as /mycustomprefix", d.ContainerPrefix)
	m.checkf(d.RedirectTimeout >= 0, "redirect-timeout", "is negative")
	m.checkf(tokenPattern.MatchString(d.CookieKey), "cookie-key", "%q is not the name of a cookie", d.CookieKey)
	if d.CookieFallbackURL != "" {
		m.destination("cookie-fallback-url", d.CookieFallbackURL)
	}
	m.positive("health-check-interval", d.CheckInterval)
	m.atLeast("health-check-retries", d.CheckRetries, 1)
	m.checkf(d.ProbeOKStatus >= 100 && d.ProbeOKStatus <= 599, "http-probe-ok-status", "%d is not an HTTP status", d.ProbeOKStatus)
	m.checkf(d.ProbeTimeout >= time.Second && d.ProbeTimeout <= time.Hour, "http-probe-timeout", "%s is not between 1s and 1h", d.ProbeTimeout) // of wake.max_wait
}

func (m *mistakes) atLeast(flag string, value, least int) {
	m.checkf(value >= least, flag, "is at least %d, not %d", least, value)
}

func (m *mistakes) positive(flag string, value time.Duration) {
	m.checkf(value > 0, flag, "is longer than 0s, not %s", value)
}

func (m *mistakes) port(flag string, port int) {
	m.checkf(port >= 1 && port <= 65535, flag, "is from 1 to 65535, not %d", port)
}

// address checks host:port; an empty host is every address, port 0 any free one.
func (m *mistakes) address(flag, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		m.addf(flag, "%q is not an address such as 127.0.0.1:8008", address)
		return
	}
	_, err = strconv.ParseUint(port, 10, 16)
	m.checkf(err == nil, flag, "%q: the port is from 0 to 65535", address)
	_, err = netip.ParseAddr(host)
	m.checkf(host == "" || err == nil || hostPattern.MatchString(host), flag, "%q: the host is neither an address nor a name", address)
}

// file checks that a file is there and may be read.
func (m *mistakes) file(flag, path string) {
	file, err := os.Open(path)
	if err != nil {
		m.addf(flag, "cannot read it: %v", err)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	m.checkf(err == nil && info.Mode().IsRegular(), flag, "%s is not a file", path)
}

// origin checks an http URL of a host only.
func (m *mistakes) origin(flag, text string) {
	parsed, err := url.Parse(text)
	ok := err == nil && parsed.Scheme == "http" && parsed.Host != "" && parsed.User == nil &&
		strings.Trim(parsed.Path, "/") == "" && parsed.RawQuery == "" && parsed.Fragment == ""
	m.checkf(ok, flag, "%q is not a URL such as http://host:8000", text)
}

// destination checks where a browser may be sent: a URL, or a path with exactly one leading slash.
func (m *mistakes) destination(flag, text string) {
	parsed, err := url.Parse(text)
	ok := err == nil && !strings.ContainsAny(text, "\\\r\n\t")
	if ok && parsed.IsAbs() {
		ok = (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != ""
	} else if ok {
		ok = strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//")
	}
	m.checkf(ok, flag, "%q is neither a URL such as http://localhost/home nor a path such as /home", text)
}

const nameRule = "a name has 1 to 63 letters, digits, dots, dashes and underscores, and begins with a letter or a digit"

var (
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	hostPattern   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`)
	prefixPattern = regexp.MustCompile(`^(/[A-Za-z0-9._~%-]+)+$`)
	tokenPattern  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 6265 cookie-name = RFC 9110 token
)

func isName(text string) bool { return namePattern.MatchString(text) }
