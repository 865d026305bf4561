package fallback

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"edgespawner/fleet"
)

// confirmPatience is how long a route's confirmation is waited for. It takes
// some milliseconds, unless an edge has just been lost.
const confirmPatience = 3 * time.Second

// confirmed waits for the edges to have the route to the service's present
// endpoints. When they do not, the client is better served from here.
func (r *Router) confirmed(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, confirmPatience)
	defer cancel()
	if err := r.waker.Published(ctx, name); err != nil {
		r.log.Debug("Route not confirmed", "service", name, "error", err)
		return false
	}
	return true
}

// sendThroughEdge sends a client, whose request no edge's middleware has seen,
// to its own path once the edges have the route. The service is not woken: that
// is for those whom its middlewares let through.
func (r *Router) sendThroughEdge(w http.ResponseWriter, req *http.Request, v visit) error {
	ctx, cancel := r.patience(req.Context(), v)
	defer cancel(nil)
	if isGRPC(req) || !r.confirmed(ctx, v.name) {
		if cause := context.Cause(ctx); cause != nil {
			return whyNot(ctx, v, cause, nil)
		}
		return &fleet.Error{Kind: fleet.Unavailable, Message: "service " + v.name + " is reached through the edge only", RetryAfter: time.Second}
	}
	r.counters.outcomes[OutcomeToEdge].Add(1)
	return sendTo(w, location(req.URL.EscapedPath(), req.URL.RawQuery))
}

// redirectOnceRouted redirects a client once the edges have the route; when they
// do not get it the request is to be proxied. An instance of the older API is
// stopped again then, as it was there: its clients come by the edge alone.
func (r *Router) redirectOnceRouted(ctx context.Context, w http.ResponseWriter, req *http.Request, v visit) (sent bool, err error) {
	if r.blindly {
		return true, r.redirect(w, req, v)
	}
	if !v.spec.Direct {
		if !r.confirmed(ctx, v.name) {
			return false, nil
		}
		return true, r.redirect(w, req, v)
	}
	failure := r.waker.Published(ctx, v.name)
	switch {
	case failure == nil:
		return true, r.redirect(w, req, v)
	case ctx.Err() != nil:
		return false, whyNot(ctx, v, ctx.Err(), nil)
	}
	r.log.Warn("Stopping an instance whose route never came", "service", v.name, "error", failure)
	if _, err := r.waker.Sleep(context.WithoutCancel(ctx), v.name, "the fallback router, since no edge took its route"); err != nil {
		r.log.Warn("Cannot stop an instance whose route never came", "service", v.name, "error", err)
	}
	return false, errNeverRouted
}

// redirect sends a client to the URL that it asked for, before the edge's
// middlewares changed its path.
func (r *Router) redirect(w http.ResponseWriter, req *http.Request, v visit) error {
	r.counters.outcomes[OutcomeRedirected].Add(1)
	if r.toRoot && v.spec.Direct && r.leadsTo(req, "/", v.name) {
		return sendTo(w, "/")
	}
	return sendTo(w, location(r.originalPath(req, v), req.URL.RawQuery))
}

// sendTo answers 307: the client repeats its request, method and body included.
func sendTo(w http.ResponseWriter, location string) error {
	w.Header().Set("Location", location)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// originalPath returns the escaped path that the client asked for. The edge's
// middlewares add theirs behind what a client may have sent under the same
// names, and there can be several of them: so the newest that leads to this
// service is taken.
func (r *Router) originalPath(req *http.Request, v visit) string {
	path := req.URL.EscapedPath()
	if !v.trusted || v.leg == LegCatchAll {
		return path
	}
	prefix := strings.Join(req.Header.Values("X-Forwarded-Prefix"), "")
	replaced := req.Header.Values("X-Replaced-Path")
	var candidates []string
	for i := len(replaced) - 1; i >= 0; i-- {
		candidates = append(candidates, replaced[i])
		if prefix != "" {
			candidates = append(candidates, prefix+replaced[i])
		}
	}
	if prefix != "" {
		candidates = append(candidates, prefix+path)
	}
	for _, candidate := range candidates {
		if r.leadsTo(req, candidate, v.name) {
			return candidate
		}
	}
	if len(candidates) > 0 {
		return candidates[0]
	}
	return path
}

// leadsTo says whether the rules would lead this request to the service if its
// path were that.
func (r *Router) leadsTo(req *http.Request, path, service string) bool {
	u, err := url.ParseRequestURI(location(path, req.URL.RawQuery))
	if err != nil {
		return false
	}
	moved := req.WithContext(req.Context())
	moved.URL, moved.RequestURI = u, u.RequestURI()
	name, _, ok := r.matcher.Match(moved)
	return ok && name == service
}

// location returns a path and query as a Location: a path with exactly one
// leading slash, so that no browser takes its beginning for a host, with every
// byte escaped that a URL may not hold.
func location(path, query string) string {
	var b strings.Builder
	b.WriteByte('/')
	escape(&b, strings.TrimLeft(path, `/\`+"\t\n\r"), pathBytes)
	if query != "" {
		b.WriteByte('?')
		escape(&b, query, queryBytes)
	}
	return b.String()
}

// The bytes besides letters and digits that stand in a path or a query (RFC
// 3986, 3.3 and 3.4), and those that clients send in a query all the same.
const (
	pathBytes  = "-._~!$&'()*+,;=:@/"
	queryBytes = pathBytes + "?[]{}|^`\\\"<>"
)

// escape writes text with all but the allowed bytes escaped; escapes stay as they are.
func escape(b *strings.Builder, text, allowed string) {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte(allowed, c) >= 0,
			c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
