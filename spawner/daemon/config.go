package daemon

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/docker"
	"edgespawner/spawner/engine"
)

// The defaults of Config.
const (
	DefaultAPIAddress      = "127.0.0.1:8008"
	DefaultFallbackAddress = ":8000"
	DefaultStateDir        = "/var/lib/spawner"
	DefaultDockerHost      = docker.DefaultEndpoint
	DefaultNodeName        = "local"
	DefaultNetwork         = "traefiknet"
	DefaultSandboxImage    = "spawner-sandbox:latest"
	DefaultFallbackURL     = "http://127.0.0.1:8000"
	DefaultEntryPoints     = "web,websecure"
	DefaultHTTPPort        = 80
	DefaultHTTPSPort       = 443
	DefaultMaxHeld         = 10000
	DefaultWorkerCount     = 10
	DefaultQueueSize       = 100
	DefaultFirstPort       = 20000
	DefaultLastPort        = 23999
	DefaultEventsKeep      = 100_000
	DefaultEventsKeepFor   = 30 * 24 * time.Hour
	DefaultLogLevel        = slog.LevelInfo
	DefaultLogFormat       = "text"
	DefaultShutdownTimeout = 10 * time.Second
	DefaultPullTimeout     = 30 * time.Minute
	DefaultDirectAPIAuth   = "on"

	DefaultRedirectTimeout     = 2 * time.Second
	DefaultCookieKey           = "instance"
	DefaultHealthCheckInterval = 30 * time.Second
	DefaultHealthCheckRetries  = 3
	DefaultProbeOKStatus       = 200
	DefaultProbeTimeout        = 60 * time.Second
)

// Config is all that a spawner can be told at its start. Begin with
// DefaultConfig, then BindFlags, parse, Load and Validate.
type Config struct {
	Version string // of this program, as its metrics tell it; no flag

	APIAddress string // host:port of the private API and the metrics; port 0 = any free one
	APITLSCert string // PEM file; empty = plain HTTP
	APITLSKey  string // PEM file of APITLSCert

	FallbackAddress string // host:port of the public fallback router
	FallbackURL     string // the fallback router as the edges reach it: http://host:port

	StateDir string // holds spawner.db, node.key and admin-token
	Fleet    string // the installation's id to adopt; empty = the stored one, else a new one

	DockerHost    string // unix://, tcp:// or ssh://; after Load never empty
	NodeName      string // of the engine at DockerHost
	NodeAddress   string // IP by which edges and other nodes reach it; empty = they do not
	NodeLabels    map[string]string
	Network       string       // that replicas, edges and the spawner share
	Subnet        netip.Prefix // of Network when it has to be made; zero = a free one is picked
	SandboxImage  string       // what keeps a replica's network
	SandboxBinary string       // imported as SandboxImage when that is missing; empty = the file sandbox beside the executable

	Edges                  []Edge       // told by hand; others are found by label
	EdgeToken              fleet.Secret // accepted with scope edge; empty = only stored tokens
	EdgeTokenFile          string       // where Load reads EdgeToken from
	EdgeCatchAll           bool         // give the edges a router of lowest priority that leads to the fallback
	EdgeDefaultCertificate bool         // give the edges a default certificate
	PublicEntryPoints      []string     // entry points that routes may use: the plain one, then the TLS one
	CertResolver           string       // the edges' ACME resolver; empty = route.tls is served without ACME
	ACMEEdge               string       // the one edge that asks for certificates; empty = the only edge
	HTTPPort               int          // public port of the plain entry point, for printed URLs
	HTTPSPort              int          // public port of the TLS entry point, for redirects and printed URLs
	AllowForwardAuth       bool         // accept forwardAuth middlewares in users' labels

	MaxHeld     int                  // requests held at a time
	MaxStarts   int                  // starts at a time on a node; 0 = its number of cores
	Failure     engine.FailureLimits // how soon a silent node is given up
	PortRange   fleet.PortRange      // of the nodes' addresses, for replicas where nodes share no network
	WorkerCount int                  // jobs at a time
	QueueSize   int                  // jobs that wait; more are refused as busy

	EventsKeep    int           // the newest events that are kept; 0 = however many
	EventsKeepFor time.Duration // how long an event is kept; 0 = however long
	PullTimeout   time.Duration // of bringing one image to a node, attempts and pauses included

	LogLevel        slog.Level
	LogFormat       string        // text or json
	ShutdownTimeout time.Duration // for what is under way when the spawner is told to end

	PasswordFile string // lines of username,sha256hex(password); empty = tokens only
	// DirectAPIAuth is on or off; off lets anybody on the loopback listener use
	// the direct-routing API.
	DirectAPIAuth string
	Direct        Direct

	listenHost string // --listen-address, the older spelling of APIAddress's host
	listenPort int    // --port, the older spelling of APIAddress's port
}

// Direct is the configuration of the direct-routing API. Exactly one of
// PathRouting and CookieRouting is true.
type Direct struct {
	PathRouting       bool
	CookieRouting     bool
	ContainerPrefix   string        // path mode: in front of the container's name; empty or /x
	RedirectTimeout   time.Duration // from start to redirect, for an instance without any health check
	CookieKey         string        // cookie mode: the name of the cookie
	CookieFallbackURL string        // cookie mode: where a client without a valid cookie is sent; empty = 404
	CheckInterval     time.Duration
	CheckRetries      int
	ProbeOKStatus     int           // the status that is healthy
	ProbeTimeout      time.Duration // from start to healthy
	TraefikCheck      bool          // redirect only after the edge has confirmed the route
	TraefikBaseURL    string        // accepted and not used: the edge confirms by itself
	TraefikPlatform   string        // accepted and not used, as TraefikBaseURL
}

// Edge is a Traefik instance that the spawner was told of.
type Edge struct {
	Name      string
	Web       string // http URL of its plain entry point; empty = it has none
	WebSecure string // https URL of its TLS entry point; empty = it has none
	Metrics   string // URL of its Prometheus page; empty = it is not asked
}

// DefaultConfig returns what a spawner does that is told nothing.
func DefaultConfig() Config {
	return Config{
		APIAddress:             DefaultAPIAddress,
		FallbackAddress:        DefaultFallbackAddress,
		FallbackURL:            DefaultFallbackURL,
		StateDir:               DefaultStateDir,
		NodeName:               DefaultNodeName,
		Network:                DefaultNetwork,
		SandboxImage:           DefaultSandboxImage,
		EdgeCatchAll:           true,
		EdgeDefaultCertificate: true,
		PublicEntryPoints:      strings.Split(DefaultEntryPoints, ","),
		HTTPPort:               DefaultHTTPPort,
		HTTPSPort:              DefaultHTTPSPort,
		MaxHeld:                DefaultMaxHeld,
		Failure: engine.FailureLimits{
			ProbeEvery: engine.DefaultNodeProbeEvery, SuspectAfter: engine.DefaultNodeSuspectAfter,
			DownAfter: engine.DefaultNodeDownAfter, Window: engine.DefaultSilenceWindow,
		},
		PortRange:       fleet.PortRange{First: DefaultFirstPort, Last: DefaultLastPort},
		WorkerCount:     DefaultWorkerCount,
		QueueSize:       DefaultQueueSize,
		EventsKeep:      DefaultEventsKeep,
		EventsKeepFor:   DefaultEventsKeepFor,
		PullTimeout:     DefaultPullTimeout,
		LogLevel:        DefaultLogLevel,
		LogFormat:       DefaultLogFormat,
		ShutdownTimeout: DefaultShutdownTimeout,
		DirectAPIAuth:   DefaultDirectAPIAuth,
		Direct: Direct{
			CookieRouting:   true,
			RedirectTimeout: DefaultRedirectTimeout,
			CookieKey:       DefaultCookieKey,
			CheckInterval:   DefaultHealthCheckInterval,
			CheckRetries:    DefaultHealthCheckRetries,
			ProbeOKStatus:   DefaultProbeOKStatus,
			ProbeTimeout:    DefaultProbeTimeout,
			TraefikCheck:    true,
		},
	}
}

// Web returns the plain public entry point; empty when there is none.
func (c Config) Web() string { return c.entryPoint(0) }

// WebSecure returns the public entry point with TLS; empty when there is none.
func (c Config) WebSecure() string { return c.entryPoint(1) }

func (c Config) entryPoint(index int) string {
	if index < len(c.PublicEntryPoints) {
		return c.PublicEntryPoints[index]
	}
	return ""
}

// APILoopback says whether the private API listens on a loopback address only.
func (c Config) APILoopback() bool {
	host, _, err := net.SplitHostPort(c.APIAddress)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Notes says which settings were accepted and do nothing, for the log.
func (c Config) Notes() []string {
	var notes []string
	for _, accepted := range []struct{ flag, value string }{
		{"--traefik-base-url", c.Direct.TraefikBaseURL},
		{"--traefik-platform", c.Direct.TraefikPlatform},
	} {
		if accepted.value != "" {
			notes = append(notes, accepted.flag+" is accepted and not needed: the edge confirms its routes by itself")
		}
	}
	return notes
}
