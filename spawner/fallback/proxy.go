package fallback

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"syscall"
	"time"

	"edgespawner/fleet"
)

// attempt is what is known of the attempts to hand a request to an app.
type attempt struct {
	turn     *turn
	body     *body
	count    int
	repeated bool  // it was sent once more after an app broke it off
	last     error // of the newest attempt
}

// pause waits before the next attempt, since the engine may not have noticed
// yet what this one found; it returns ctx's error when that ends first.
func (a *attempt) pause(ctx context.Context) error {
	a.count++
	timer := time.NewTimer(min(time.Millisecond<<min(a.count, 7), 100*time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bothWays lets a request's body and its answer flow at once. Without it the
// server reads the body to its end before the first byte of the answer goes out:
// the end of every bidirectional stream.
func (r *Router) bothWays(w http.ResponseWriter, b *body) {
	b.streams = b.early == nil && !b.empty
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		r.log.Debug("Full duplex refused", "error", err)
	}
}

// proxy hands the request to the app at endpoint and its answer to the client.
// Again says that the app never got it, or that it may get it once more. An
// error means that nothing has been answered.
func (r *Router) proxy(w http.ResponseWriter, req *http.Request, v visit, endpoint fleet.Endpoint, try *attempt) (again bool, err error) {
	try.turn.end()
	r.bothWays(w, try.body)
	r.counters.proxied.Add(1)
	answered, failure := false, error(nil)
	func() {
		defer func() { // a broken copy of an answer panics past this
			r.counters.proxied.Add(-1)
			if answered && failure == nil {
				r.counters.outcomes[OutcomeProxied].Add(1)
			}
		}()
		transport, scheme, done := r.transports.pick(protocol(v.spec))
		defer done()
		var proxy *httputil.ReverseProxy
		proxy = &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Scheme, p.Out.URL.Host = scheme, endpoint.Addr.String()
				rewrite(p, v.trusted)
			},
			Transport:     transport,
			FlushInterval: -1,
			BufferPool:    buffers,
			ErrorLog:      r.proxyLog(v.name),
			ModifyResponse: func(res *http.Response) error {
				answered = true
				keepContentTypeAbsent(w, res)
				if res.ContentLength == 0 {
					// A gRPC error is headers alone. Flushed before its end is known, they
					// would be followed by a body, and no client would find the status.
					proxy.FlushInterval = 0
				}
				return nil
			},
			ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failure = err },
		}
		held := req.WithContext(req.Context())
		held.Body = try.body.open()
		proxy.ServeHTTP(w, held)
	}()
	if failure == nil {
		return false, nil
	}
	try.last = failure
	r.log.Debug("Proxying failed", "service", v.name, "replica", endpoint.Replica, "error", failure)
	return r.judge(req, v, try, answered)
}

// judge decides what follows on an attempt that failed.
func (r *Router) judge(req *http.Request, v visit, try *attempt, answered bool) (again bool, err error) {
	switch {
	case req.Context().Err() != nil || try.body.broken():
		return false, errLeft
	case answered:
		return false, fleet.Errorf(fleet.BadGateway, "the answer of service %s cannot be handed on", v.name)
	case isUnsent(try.last):
		r.counters.redials.Add(1)
	case !brokeOff(try.last):
		return false, fleet.Errorf(fleet.BadGateway, "service %s did not answer as expected", v.name)
	case !isIdempotent(req) || !try.body.repeatable():
		return false, errMayHaveRun(v.name)
	case try.repeated:
		return false, fleet.Errorf(fleet.BadGateway, "service %s broke off before it answered", v.name)
	default:
		try.repeated = true
	}
	return true, try.turn.wait()
}

// isUnsent says whether a failure proves that the app was sent nothing.
func isUnsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// brokeOff says whether a failure is that of a connection whose app ended.
func brokeOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// rewrite makes the outgoing request the one that Traefik would have sent.
func rewrite(p *httputil.ProxyRequest, trusted bool) {
	in, out := p.In, p.Out
	out.URL.Path, out.URL.RawPath, out.URL.RawQuery = in.URL.Path, in.URL.RawPath, in.URL.RawQuery
	out.Host = in.Host
	out.Trailer = in.Trailer // filled in while the body is read, which a copy would miss
	for name := range out.Header {
		if isOurs(name) {
			delete(out.Header, name)
		}
	}
	if trusted {
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			if values, ok := in.Header[name]; ok {
				out.Header[name] = values
			}
		}
	} else {
		p.SetXForwarded()
	}
	if isWebSocket(out.Header) {
		spellWebSocket(out.Header)
	}
}

// spellWebSocket spells the headers of a handshake as RFC 6455 does, for the
// servers that compare them byte by byte; Traefik does the same.
func spellWebSocket(header http.Header) {
	for _, name := range []string{"Key", "Extensions", "Accept", "Protocol", "Version"} {
		canonical := "Sec-Websocket-" + name
		if values, ok := header[canonical]; ok {
			header["Sec-WebSocket-"+name] = values
			delete(header, canonical)
		}
	}
}

// keepContentTypeAbsent keeps the server from guessing the type of an answer
// that has none.
func keepContentTypeAbsent(w http.ResponseWriter, res *http.Response) {
	if _, ok := res.Header["Content-Type"]; !ok {
		w.Header()["Content-Type"] = nil
	}
}

// protocol returns the protocol that the app speaks.
func protocol(spec *fleet.Spec) string {
	if spec.Route == nil {
		return ""
	}
	return spec.Route.Protocol
}

// proxyLog takes what the proxy has to say, such as a client that left in the
// middle of an answer.
func (r *Router) proxyLog(service string) *log.Logger {
	return slog.NewLogLogger(r.log.With("service", service).Handler(), slog.LevelDebug)
}

// buffers are shared by all copies of answers.
var buffers = &bufferPool{sync.Pool{New: func() any { return new([32 << 10]byte) }}}

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte { return b.pool.Get().(*[32 << 10]byte)[:] }

func (b *bufferPool) Put(buffer []byte) { b.pool.Put((*[32 << 10]byte)(buffer)) }
