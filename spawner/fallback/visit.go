package fallback

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"edgespawner/fleet"
)

// The headers by which edges tell this router what they know.
const (
	HeaderEdge    = "X-Spawner-Edge"    // the secret; without it none of these is believed
	HeaderService = "X-Spawner-Service" // whose wake leg it is
	HeaderLeg     = "X-Spawner-Leg"     // a Leg
	HeaderConfig  = "X-Spawner-Config"  // the hash of the edge's document, from its probe router
	headerOurs    = "X-Spawner-"        // all headers with this prefix are ours
)

// Leg says why the edge led a request here.
type Leg string

// The legs. A request without the secret counts as catch-all.
const (
	LegAsleep   Leg = "asleep"    // the service has no live replica
	LegFailover Leg = "failover"  // a live replica failed this request, which it may have seen
	LegCatchAll Leg = "catch-all" // no route matched
)

// visit is what is known of a request before anything is done for it.
type visit struct {
	name    string // of the service
	spec    *fleet.Spec
	since   time.Time // DownSince of the service
	ready   bool      // it had a ready replica on arrival
	leg     Leg
	trusted bool // it carries the secret: its X-Forwarded-* are the edge's
	guarded bool // it may not be proxied: the edge's middlewares have not seen it
	probe   bool // it asks for no service: an edge's probe router
	answer  fleet.WakeAnswer
	maxWait time.Duration
	cause   string // what the wake's event says of it
	arrived time.Time
}

// visit finds out which service a request is for. The error is NotFound when
// there is none.
func (r *Router) visit(req *http.Request, trusted bool) (visit, error) {
	v := visit{arrived: time.Now(), trusted: trusted}
	leg, name := Leg(req.Header.Get(HeaderLeg)), req.Header.Get(HeaderService)
	switch {
	case req.Method == http.MethodConnect:
		return v, fleet.Errorf(fleet.Invalid, "CONNECT is not served here")
	case v.trusted && name == "" && leg == "" && req.Header.Get(HeaderConfig) != "":
		v.probe = true
		return v, nil
	case v.trusted && name != "" && leg != LegCatchAll:
		// A client can name headers in Connection and so have the edge drop them:
		// without its leg a request counts as the more delicate kind.
		if v.leg = LegFailover; leg == LegAsleep {
			v.leg = LegAsleep
		}
	default:
		var ok bool
		if name, v.guarded, ok = r.matcher.Match(req); !ok {
			return v, errNoRoute
		}
		// The catch-all always says that it is one. An edge's request that does not
		// was on a wake leg, whose name its client had dropped: the delicate kind, too.
		if v.leg = LegCatchAll; v.trusted && leg != LegCatchAll {
			v.leg = LegFailover
		}
	}
	r.counters.legs[v.leg].Add(1)
	service, ok := r.waker.Snapshot().Find(name)
	if !ok {
		return v, fleet.Errorf(fleet.NotFound, "there is no service %q", name)
	}
	if v.leg == LegCatchAll && v.trusted {
		r.noteMissing(name)
	}
	v.describe(service, req)
	v.cause = r.cause(req, v)
	return v, nil
}

// describe fills in what the service says.
func (v *visit) describe(service *fleet.Routed, req *http.Request) {
	v.name, v.since, v.ready = service.Name, service.DownSince, len(service.Endpoints) > 0
	v.spec = service.Spec
	if v.spec == nil {
		spec := fleet.DefaultSpec()
		v.spec = &spec
	}
	v.maxWait = v.spec.Wake.MaxWait.Std()
	if v.maxWait <= 0 {
		v.maxWait = fleet.DefaultMaxWait.Std()
	}
	v.answer = answerFor(v, req)
}

// answerFor reduces the spec's wake.answer to what holds for this request:
// hold, page or redirect. What is awake is always proxied, so no client is ever
// sent round twice; nor is one whose request cannot be made again.
func answerFor(v *visit, req *http.Request) fleet.WakeAnswer {
	answer := v.spec.Wake.Answer
	if (answer == fleet.AnswerAuto || answer == "") && v.spec.Direct && navigates(req) {
		answer = fleet.AnswerRedirect
	}
	switch {
	case v.ready || isUpgrade(req) || isGRPC(req):
		return fleet.AnswerHold
	case answer == fleet.AnswerPage && navigates(req):
		return fleet.AnswerPage
	case answer == fleet.AnswerRedirect && resendable(req):
		return fleet.AnswerRedirect
	default:
		return fleet.AnswerHold
	}
}

// fromEdge says whether a request carries the secret, exactly once.
func (r *Router) fromEdge(req *http.Request) bool {
	values := req.Header[HeaderEdge]
	if !r.trusts || len(values) != 1 {
		return false
	}
	got := sha256.Sum256([]byte(values[0]))
	return subtle.ConstantTimeCompare(got[:], r.secret[:]) == 1
}

// withoutClaims returns the request of a client that is not an edge without
// the headers by which only an edge is believed.
func withoutClaims(req *http.Request) *http.Request {
	own := req.WithContext(req.Context())
	own.Header = req.Header.Clone()
	for name := range req.Header {
		if isOurs(name) || isForwarding(name) {
			delete(own.Header, name)
		}
	}
	return own
}

// isOurs says whether a header is one of those between edges and this router.
func isOurs(name string) bool { return strings.HasPrefix(hyphenated(name), headerOurs) }

// isForwarding says whether a header claims where a request comes from.
func isForwarding(name string) bool {
	name = hyphenated(name)
	return strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" || name == "X-Replaced-Path" || name == "Forwarded"
}

// hyphenated returns a header's name as the apps see it that take an
// underscore for a hyphen.
func hyphenated(name string) string {
	return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// answerProbe echoes the hash of its document to an edge's probe.
func (r *Router) answerProbe(w http.ResponseWriter, req *http.Request) {
	r.counters.outcomes[OutcomeProbe].Add(1)
	w.Header().Set(HeaderConfig, req.Header.Get(HeaderConfig))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// cause puts a request into words for the wake's event, with the path that the
// client asked for; the query stays out, since it may hold secrets.
func (r *Router) cause(req *http.Request, v visit) string {
	const most = 200
	path, _, _ := strings.Cut(r.originalPath(req, v), "?")
	text := req.Method + " " + req.Host + path
	if len(text) > most {
		text = text[:most] + "…"
	}
	return "request " + strings.ToValidUTF8(text, "?")
}

// patience returns the context of a request that waits. It ends with the
// client, with the router, and half a second after max_wait: by then the
// engine has given its own reason, which says more.
func (r *Router) patience(client context.Context, v visit) (context.Context, context.CancelCauseFunc) {
	const grace = 500 * time.Millisecond
	limited, stopTimer := context.WithDeadlineCause(client, v.arrived.Add(v.maxWait+grace), errTooLong)
	ctx, cancel := context.WithCancelCause(limited)
	stop := context.AfterFunc(r.open, func() { cancel(errClosing) })
	return ctx, func(cause error) {
		cancel(cause)
		stop()
		stopTimer()
	}
}
