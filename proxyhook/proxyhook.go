// Package proxyhook is the only place that knows Traefik's words. It turns
// specs into routers, services and middlewares: Check says whether the edge can
// route a spec, Port which port of the app its routes lead to, Render makes the
// document that the edges read, NewMatcher answers as an edge would which
// service a request belongs to, and ContainerLabels says the same to a Traefik
// that reads labels.
//
// It does no I/O and knows no clock; serving the document and asking the edges
// what they made of it is the work of proxyhook/feed and proxyhook/activity.
package proxyhook

import (
	"regexp"
	"strings"
)

// Settings are what the edges of one installation have in common. They are
// comparable, so that what was made of a spec can be kept for the same settings.
type Settings struct {
	FallbackURL string // the public fallback router, as edges reach it
	EdgeSecret  string // proves to the fallback that a request came through an edge; never logged

	Web       string // the public entry point for plain HTTP; empty = web
	WebSecure string // the public entry point for TLS; empty = none

	CatchAll           bool   // a router of the lowest priority leads to the fallback
	DefaultCertificate bool   // the document holds the certificate for names without one
	CertificatePEM     string // that certificate, with its key in KeyPEM
	KeyPEM             string

	CertResolver     string // the edges' ACME resolver; empty = none
	HTTPSPort        int    // where clients reach WebSecure; 0 = 443
	AllowForwardAuth bool   // labels may name servers that decide on requests
	ProbeHost        string // a host name that only we know, for the probe routers; empty = none
	CookieKey        string // the cookie that names an instance of the direct-routing API that has no rule of its own; empty = none
}

// View is what differs from edge to edge, or from document to document.
type View struct {
	Edge            string          // its name
	ACME            bool            // it may order certificates
	WithoutResolver map[string]bool // services whose certificates are not ordered
	LeftOut         map[string]bool // services that have no routers in the document
}

// Header names that the edge sets towards the fallback router.
const (
	HeaderEdge    = "X-Spawner-Edge"    // Settings.EdgeSecret
	HeaderService = "X-Spawner-Service" // the service that a wake leg belongs to
	HeaderLeg     = "X-Spawner-Leg"     // a Leg
	HeaderConfig  = "X-Spawner-Config"  // Document.Hash, on a probe router
)

// The values of HeaderLeg: why the fallback router sees a request.
const (
	LegAsleep   = "asleep"    // the service has no ready replica
	LegFailover = "failover"  // a replica failed the request
	LegCatchAll = "catch-all" // no router took it
)

const (
	defaultWeb   = "web"
	defaultHTTPS = 443
)

// normal fills the defaults in.
func (s Settings) normal() Settings {
	if s.Web == "" {
		s.Web = defaultWeb
	}
	if s.HTTPSPort == 0 {
		s.HTTPSPort = defaultHTTPS
	}
	return s
}

// publicEntryPoints returns the entry points that labels may name.
func (s Settings) publicEntryPoints() []string {
	if s.WebSecure == "" {
		return []string{s.Web}
	}
	return []string{s.Web, s.WebSecure}
}

// The names inside a document. What belongs to a revision is called
// <service>-r<revision>-<name>: one name with two settings would delete both
// where documents are merged. A tilde, which neither services nor labels may
// hold, sets apart what is made here.
const (
	routeName      = "route" // the router of a spec's route
	appName        = "app"
	failoverName   = "failover"
	guardName      = "guard" // between the two
	wakeSuffix     = "-wake"
	sharedPrefix   = "spawner~"
	secureSuffix   = "~tls"
	bypassSuffix   = "~bypass"
	redirectSuffix = "~redirect"
	stripName      = "route~strip"
	legSuffix      = "~leg"
)

// wakeLeg returns the name of the service's wake leg.
func wakeLeg(service string) string { return service + wakeSuffix }

var leafPattern = regexp.MustCompile(`^(.+)-r[0-9]+-` + appName + `$`)

// LeafService returns the service that a Traefik service of our documents
// counts requests for, as the edge's metrics name it: <service>-r<revision>-app
// or <service>-wake, with or without @http.
func LeafService(name string) (service string, ok bool) {
	name, _, _ = strings.Cut(name, "@")
	if match := leafPattern.FindStringSubmatch(name); match != nil {
		return match[1], true
	}
	if strings.HasPrefix(name, sharedPrefix) {
		return "", false
	}
	return strings.CutSuffix(name, wakeSuffix)
}
