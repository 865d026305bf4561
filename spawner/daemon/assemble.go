package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"

	"edgespawner/fleet"
	"edgespawner/probes"
	"edgespawner/proxyhook"
	"edgespawner/proxyhook/activity"
	"edgespawner/proxyhook/feed"
	"edgespawner/spawner/access"
	"edgespawner/spawner/api"
	"edgespawner/spawner/direct"
	"edgespawner/spawner/docker"
	"edgespawner/spawner/engine"
	"edgespawner/spawner/fallback"
	"edgespawner/spawner/sqlite"
	"edgespawner/spawner/webhooks"
)

// spawner is every part of one, wired together.
type spawner struct {
	config   Config
	log      *slog.Logger
	store    *sqlite.Store
	secrets  secrets
	pool     *docker.Pool
	nodes    *nodes
	lease    *lease
	feed     *feed.Feed
	activity *activity.Reader
	prober   *probes.Prober
	engine   *engine.Engine
	access   *access.Authority
	fallback *fallback.Router
	api      *api.API
	webhooks *webhooks.Sender
	metrics  *metrics
	ending   atomic.Bool // the spawner is being shut down
}

// assemble opens the store and knows the node; nothing runs yet.
func assemble(ctx context.Context, config Config, log *slog.Logger) (s *spawner, err error) {
	if err := ensureStateDir(config.StateDir); err != nil {
		return nil, err
	}
	store, err := sqlite.Open(ctx, databaseFile(config.StateDir), log)
	if err != nil {
		return nil, err
	}
	s = &spawner{config: config, log: log, store: store}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	if s.secrets, err = loadSecrets(ctx, store.Settings(), config.Fleet); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(config.Version)
	s.pool = docker.New(s.secrets.fleet, log)
	s.pool.Observe(s.metrics.called)
	var dial []docker.DialOption
	if files, ok := docker.TLSFromEnvironment(os.Getenv); ok {
		dial = append(dial, docker.WithTLS(files))
	}
	s.nodes = &nodes{
		changing: make(chan struct{}, 1),
		pool:     s.pool, store: store.Nodes(), vault: &vault{path: keyFile(config.StateDir)}, log: log,
		record: func(event fleet.Event) { s.engine.Record(event) },
		gone:   s.metrics.forgetNode,
	}
	s.nodes.swarm = &swarmKeeper{
		swarm: s.pool.Swarm(), info: s.pool.Info, own: config.NodeName, nodes: s.nodes.joined, log: log,
		attend: attendance{attendants: s.pool.Networks().Attendants, addresses: net.InterfaceAddrs},
		record: func(event fleet.Event) { s.engine.Record(event) },
	}
	own := fleet.StoredNode{Node: fleet.Node{
		Name: config.NodeName, Endpoint: config.DockerHost, Address: config.NodeAddress, Labels: config.NodeLabels,
	}}
	if err := s.nodes.load(ctx, own, dial); err != nil {
		return nil, err
	}
	s.nodes.leases = &nodeLeases{leases: s.pool, owner: s.secrets.installation, names: s.nodes.others, log: log}
	s.lease = &lease{leases: s.pool, node: config.NodeName, owner: s.secrets.installation, log: log}
	return s, nil
}

// prepare makes the parts that need the lease: from here on this process speaks for the fleet.
func (s *spawner) prepare(ctx context.Context) error {
	settings := s.edgeSettings()
	if err := s.makeFeed(ctx, settings); err != nil {
		return err
	}
	s.activity = activity.New(activity.Config{Edges: s.metricsPages, Log: s.log})
	s.prober = probes.New(probes.Config{
		Execer: s.pool.Shell(), Log: s.log,
		Report:  func(change probes.Change) { s.engine.ReportHealth(change) },
		Observe: s.metrics.probed,
	})
	s.engine = engine.New(s.engineConfig(), engine.Ports{
		Containers: s.pool.Containers(), Freezer: s.pool.Freezer(), Images: s.pool.Images(), Networks: s.pool.Networks(),
		Stock:   s.pool.Stock(),
		Watcher: s.pool.Watcher(), Shell: s.pool.Shell(),
		Services: s.store.Services(), Revisions: s.store.Services(), Addresses: s.store.Addresses(), Standings: s.store.Standings(),
		Jobs: s.store.Jobs(), Events: s.store.Events(), Nodes: s.nodes,
		Router: &router{Feed: s.feed, settings: settings}, Traffic: s.activity, Prober: s.prober,
	}, s.log)
	s.nodes.follow = s.engine
	var err error
	s.fallback, err = fallback.New(fallback.Config{
		Waker: s.engine, Matcher: fallback.MatcherFunc(s.match),
		EdgeSecret: fleet.Secret(s.secrets.edge), MaxHeld: s.config.MaxHeld,
		CookieFallbackURL: s.config.Direct.CookieFallbackURL, RedirectToRoot: s.config.Direct.CookieRouting,
		Unconfirmed: !s.config.Direct.TraefikCheck,
		Events:      s.engine.Record, Log: s.log,
	})
	if err != nil {
		return err
	}
	if err := s.makeAccess(ctx); err != nil {
		return err
	}
	s.metrics.watch(s)
	s.webhooks = webhooks.New(webhooks.Config{Store: s.store.Webhooks(), Events: s.engine, FleetID: s.secrets.fleet, Observe: s.metrics.delivered, Removed: s.metrics.forgetWebhook, Log: s.log})
	s.makeAPI()
	return nil
}

func (s *spawner) edgeSettings() proxyhook.Settings {
	return proxyhook.Settings{
		FallbackURL: s.config.FallbackURL, EdgeSecret: s.secrets.edge,
		Web: s.config.Web(), WebSecure: s.config.WebSecure(),
		CatchAll: s.config.EdgeCatchAll, DefaultCertificate: s.config.EdgeDefaultCertificate,
		CertificatePEM: s.secrets.certificate, KeyPEM: s.secrets.key,
		CertResolver: s.config.CertResolver, HTTPSPort: s.config.HTTPSPort,
		AllowForwardAuth: s.config.AllowForwardAuth, ProbeHost: s.secrets.probeHost, CookieKey: s.config.Direct.CookieKey,
	}
}

func (s *spawner) makeFeed(ctx context.Context, settings proxyhook.Settings) error {
	edges := make([]feed.EdgeAddress, len(s.config.Edges))
	for i, e := range s.config.Edges {
		edges[i] = feed.EdgeAddress(e)
	}
	known := &knownEdges{settings: s.store.Settings(), log: s.log}
	expected, err := known.load(ctx)
	if err != nil {
		return err
	}
	s.feed = feed.New(feed.Config{
		Settings: settings, Edges: edges, Known: s.labelledEdges, Expected: expected, ACMEEdge: s.config.ACMEEdge,
		Seen: known.add, Gone: known.remove,
		Events:  func(e fleet.Event) { s.engine.Record(e) },
		Refused: s.metrics.refused, Applied: s.metrics.applied,
		Log: s.log,
	})
	return nil
}

func (s *spawner) engineConfig() engine.Config {
	return engine.Config{
		FleetID: s.secrets.fleet, OwnNode: s.config.NodeName, Network: s.config.Network, Subnet: s.config.Subnet,
		SandboxImage: s.config.SandboxImage, SandboxRootFS: s.sandboxRootFS,
		MaxStarts: s.config.MaxStarts, Failure: s.config.Failure, Ports: s.config.PortRange, Workers: s.config.WorkerCount, QueueSize: s.config.QueueSize, PullTimeout: s.config.PullTimeout,
		Checks: probes.Defaults{
			Label: fleet.HealthCheck{
				Interval: fleet.Duration(s.config.Direct.CheckInterval), Retries: s.config.Direct.CheckRetries,
				OKStatus: []int{s.config.Direct.ProbeOKStatus},
			},
			Settle: fleet.Duration(s.config.Direct.RedirectTimeout),
		},
		Settled: s.feed.Settled, Observer: s.metrics,
	}
}

func (s *spawner) makeAccess(ctx context.Context) error {
	var static []access.StaticToken
	if s.config.EdgeToken != "" {
		static = append(static, access.StaticToken{Name: "edge", Token: s.config.EdgeToken, Scope: fleet.ScopeEdge})
	}
	var err error
	s.access, err = access.New(access.Config{
		Tokens: s.store.Tokens(), Static: static, PasswordFile: s.config.PasswordFile,
		SessionKey: s.secrets.session, Events: s.engine.Record, Log: s.log,
	})
	if err != nil {
		return err
	}
	path := filepath.Join(s.config.StateDir, "admin-token")
	created, err := s.access.EnsureAdminToken(ctx, path)
	if created {
		s.log.Info("Made the admin token", "file", path)
	}
	return err
}

func (s *spawner) makeAPI() {
	s.api = api.New(api.Config{
		Deployer: s.engine, Verbs: s.engine, Questions: s.questions(), Jobs: s.engine, Records: s.engine, Nodes: s.nodes, Balancer: s.engine, Remover: s.engine,
		Edges: s.feed, Tokens: access.KeepAdmin(s.store.Tokens()), Webhooks: s.webhooks, Authority: s.access,
		Feed: s.feed, Metrics: s.metrics.handler(),
		Direct: direct.New(direct.Config{
			Engine: s.engine, Authority: s.access, Logins: s.access, Open: s.config.DirectAPIAuth == "off",
			PathRouting: s.config.Direct.PathRouting, ContainerPrefix: s.config.Direct.ContainerPrefix,
			CookieKey: s.config.Direct.CookieKey, MaxWait: fleet.Duration(s.config.Direct.ProbeTimeout), Log: s.log,
		}),
		Log: s.log,
	})
}
