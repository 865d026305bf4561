// Package fallback is the public router: the edges lead to it every request
// that no live replica takes. It finds out which service is meant, has it woken
// while the client waits, and proxies that same request, exactly as Traefik
// would have. It redirects or shows a waiting page only where the service asks
// for that, and whatever goes wrong it answers honestly and in time.
//
// # Which service
//
// A request that carries the edges' secret in X-Spawner-Edge came down a wake
// leg: X-Spawner-Service names its service and the edge has applied the
// middlewares of its route already. Any other request (a direct caller, the
// catch-all) is matched against the rules, and never proxied to a service whose
// route has middlewares, since that would be a way around them: it is sent to
// its own path, through the edge. X-Spawner-* headers never reach an app.
//
// # Promises
//
// A client that leaves is let go at once; the wake goes on. A request is sent
// to an app at most once, unless its method is idempotent (or it carries an
// Idempotency-Key) and its body is at hand: only an attempt to connect that
// failed is repeated freely. A request that waits is answered within the
// service's max_wait and a second. Close releases all requests that wait.
//
// It starts nothing itself and does not know how waking is done: see Waker.
package fallback
