// Package activity reads from the edges' Prometheus pages when each service was
// last asked for. It tells that there was traffic; it cannot tell that nobody is
// connected, since an edge shows neither open plain connections nor streams that
// a client broke off.
//
// An edge counts a request under the Traefik service that it ended at: with TLS
// at its start (…_requests_tls_total) and in any case at its end
// (…_requests_total). A count that grew since the last look is a request seen
// now. A series that is missing stands for zero: an edge drops the series of a
// service that leaves its configuration, and all of them when it starts anew. So
// a count below the last one is a count since then, and means a request unless
// it is zero.
package activity
