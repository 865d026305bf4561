package proxyhook

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	ptypes "github.com/traefik/paerser/types"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	traefiktls "github.com/traefik/traefik/v3/pkg/tls"
	"github.com/traefik/traefik/v3/pkg/types"
)

// What all services of a document share.
const (
	sharedFallback        = sharedPrefix + "fallback"
	sharedFallbackRetry   = sharedPrefix + "fallback-retry"
	sharedReplicaRetry    = sharedPrefix + "replica-retry"
	sharedOtherReplica    = sharedPrefix + "other-replica"
	sharedGatewayErrors   = sharedPrefix + "gateway-errors"
	sharedRedirect        = sharedPrefix + "https"
	sharedCatchAll        = sharedPrefix + "catch-all"
	sharedProbe           = sharedPrefix + "probe"
	sharedAppTransport    = sharedPrefix + "app"
	sharedAppTLSTransport = sharedPrefix + "app-tls"
)

const (
	// fallbackAttempts at least 200 ms apart bridge the second or two in which a
	// spawner is started again.
	fallbackAttempts = 12
	fallbackPause    = 200 * time.Millisecond
	// replicaAttempts are of a request that cannot reach its replica. Each is one
	// more draw among them, and one dial of dialTimeout where a machine is gone
	// without a packet: with 3 attempts, of 2 replicas one gone and the spawner
	// away, as many as 1 of 8 requests drew the lost one each time; with 6, 1 of 64.
	// While the spawner is there such a one ends on the failover leg.
	replicaAttempts = 6
	// otherReplicaAttempts are of a request that its replica had and failed, or that
	// reached none in all those attempts. Each has them all again.
	otherReplicaAttempts = 2

	dialTimeout = time.Second
	// idleTimeout is short, so that an open connection to a replica means use.
	idleTimeout = 5 * time.Second
)

// sharedParts is what a document holds beside its services.
type sharedParts struct {
	fragment
	transports []byte
	tls        []byte // empty = none
}

func renderShared(s Settings) (sharedParts, error) {
	var parts sharedParts
	var err error
	if parts.routers, err = members(sharedRouters(s)); err != nil {
		return parts, err
	}
	services := map[string]*dynamic.Service{sharedFallback: fallbackService(s, "")}
	if parts.services, err = members(services); err != nil {
		return parts, err
	}
	if parts.middlewares, err = members(sharedMiddlewares(s)); err != nil {
		return parts, err
	}
	if parts.transports, err = json.Marshal(sharedTransports()); err != nil {
		return parts, fmt.Errorf("cannot encode transports: %w", err)
	}
	if s.DefaultCertificate && s.CertificatePEM != "" {
		if parts.tls, err = json.Marshal(defaultCertificate(s)); err != nil {
			return parts, fmt.Errorf("cannot encode the default certificate: %w", err)
		}
	}
	return parts, nil
}

// sharedRouters draws the catch-all and the probe, each once per entry point.
func sharedRouters(s Settings) map[string]*dynamic.Router {
	drawn := map[string]*dynamic.Router{}
	for _, entryPoint := range s.publicEntryPoints() {
		var tls *dynamic.RouterTLSConfig
		if entryPoint == s.WebSecure {
			tls = &dynamic.RouterTLSConfig{}
		}
		if s.CatchAll {
			drawn[sharedCatchAll+"-"+entryPoint] = &dynamic.Router{
				EntryPoints: []string{entryPoint}, TLS: tls, Rule: "PathPrefix(`/`)", Priority: catchAllPriority,
				Middlewares: []string{sharedCatchAll}, Service: sharedFallback,
			}
		}
		if s.ProbeHost != "" {
			drawn[sharedProbe+"-"+entryPoint] = &dynamic.Router{
				EntryPoints: []string{entryPoint}, TLS: tls, Rule: spell("Host", s.ProbeHost), Priority: probePriority,
				Middlewares: []string{sharedProbe}, Service: sharedFallback,
			}
		}
	}
	return drawn
}

func sharedMiddlewares(s Settings) map[string]*dynamic.Middleware {
	drawn := map[string]*dynamic.Middleware{
		// Both retry only what never reached the server.
		sharedFallbackRetry: {Retry: &dynamic.Retry{Attempts: fallbackAttempts, InitialInterval: ptypes.Duration(fallbackPause)}},
		sharedReplicaRetry:  {Retry: &dynamic.Retry{Attempts: replicaAttempts}},
		// This one does what had reached it, unless the method is POST or PATCH; what
		// else may not be carried out twice is kept from it by bypassRule. What a replica
		// had in hand as its machine was lost is so answered by another one, also when
		// nobody is behind the failover leg. The failover has read the body.
		sharedOtherReplica: {Retry: &dynamic.Retry{
			Attempts: otherReplicaAttempts, Status: failoverStatus(), DisableRetryOnNetworkError: true, MaxRequestBodyBytes: new(int64(-1)),
		}},
		// What an app streams under one of these statuses, Traefik's failover and retry
		// drop, but each flush of it goes on to the client, who is told 200 by that. This
		// keeps the flushes back; noop answers an empty page under the same status.
		sharedGatewayErrors: {Errors: &dynamic.ErrorPage{Status: failoverStatus(), Service: "noop@internal"}},
	}
	if s.CatchAll {
		drawn[sharedCatchAll] = requestHeaders(map[string]string{
			HeaderEdge: s.EdgeSecret, HeaderLeg: LegCatchAll, HeaderService: "", HeaderConfig: "",
		})
	}
	if s.ProbeHost != "" {
		drawn[sharedProbe] = requestHeaders(map[string]string{
			HeaderEdge: s.EdgeSecret, HeaderConfig: hashPlaceholder, HeaderService: "", HeaderLeg: "",
		})
	}
	if s.WebSecure != "" {
		redirect := &dynamic.RedirectScheme{Scheme: "https"}
		if s.HTTPSPort != defaultHTTPS {
			redirect.Port = strconv.Itoa(s.HTTPSPort)
		}
		drawn[sharedRedirect] = &dynamic.Middleware{RedirectScheme: redirect}
	}
	return drawn
}

// failoverStatus are the answers that the failover takes for a failure: never 500
// or 503, which apps answer themselves.
func failoverStatus() []string { return []string{"502", "504"} }

// requestHeaders overwrites headers of a request; an empty value takes one off.
func requestHeaders(headers map[string]string) *dynamic.Middleware {
	return &dynamic.Middleware{Headers: &dynamic.Headers{CustomRequestHeaders: headers}}
}

// fallbackService leads to the fallback router, by way of one middleware if it is named.
func fallbackService(s Settings, middleware string) *dynamic.Service {
	service := &dynamic.Service{
		Middlewares: []string{sharedFallbackRetry},
		LoadBalancer: &dynamic.ServersLoadBalancer{
			Servers: []dynamic.Server{{URL: s.FallbackURL}}, PassHostHeader: new(true), ServersTransport: sharedFallback,
		},
	}
	if middleware != "" {
		service.Middlewares = []string{middleware, sharedFallbackRetry}
	}
	return service
}

// idleConnections is how many idle connections an edge keeps to one server, as
// Traefik's own default transport does. A transport that does not say so keeps 2.
const idleConnections = 200

func sharedTransports() map[string]*dynamic.ServersTransport {
	timeouts := &dynamic.ForwardingTimeouts{DialTimeout: ptypes.Duration(dialTimeout), IdleConnTimeout: ptypes.Duration(idleTimeout)}
	return map[string]*dynamic.ServersTransport{
		sharedAppTransport: {ForwardingTimeouts: timeouts, MaxIdleConnsPerHost: idleConnections},
		// A replica is dialled by its address, which no certificate names.
		sharedAppTLSTransport: {ForwardingTimeouts: timeouts, MaxIdleConnsPerHost: idleConnections, InsecureSkipVerify: true},
		sharedFallback: {
			ForwardingTimeouts:  &dynamic.ForwardingTimeouts{DialTimeout: ptypes.Duration(dialTimeout)},
			MaxIdleConnsPerHost: idleConnections,
		},
	}
}

// defaultCertificate keeps an edge from making an RSA key at each reload.
func defaultCertificate(s Settings) *dynamic.TLSConfiguration {
	return &dynamic.TLSConfiguration{Stores: map[string]traefiktls.Store{
		traefiktls.DefaultTLSStoreName: {DefaultCertificate: &traefiktls.Certificate{
			CertFile: types.FileOrContent(s.CertificatePEM), KeyFile: types.FileOrContent(s.KeyPEM),
		}},
	}}
}
