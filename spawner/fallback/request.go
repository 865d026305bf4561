package fallback

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// downLong is how long ago an app must have died for a request that arrives
// now not to have been in flight: a dial is refused, and the request handed to
// this router, within milliseconds.
const downLong = 2 * time.Second

// idempotent are the methods that may be carried out twice (RFC 9110, 9.2.2).
var idempotent = []string{
	http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete,
}

// isIdempotent says whether a request may be carried out twice.
func isIdempotent(req *http.Request) bool {
	return slices.Contains(idempotent, req.Method) || req.Header.Get("Idempotency-Key") != ""
}

// mayHaveRun says whether an app may have carried out a request, which must
// not be carried out twice, before the edge handed it to this router.
func mayHaveRun(req *http.Request, v visit) bool {
	if isIdempotent(req) {
		return false
	}
	return v.since.IsZero() || v.arrived.Sub(v.since) < downLong
}

// navigates says whether a request is a browser that opens a page, which can
// follow a redirect and show a waiting page.
func navigates(req *http.Request) bool {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return false
	}
	if mode := req.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	return !isUpgrade(req) && hasToken(req.Header["Accept"], "text/html")
}

// resendable says whether a client can be asked to send its request again:
// without a body, or with one that the server takes to its end after the
// answer, so that the connection is not cut under the client that still sends.
func resendable(req *http.Request) bool {
	const taken = 256 << 10 // what net/http reads of a body that was left
	return req.ContentLength >= 0 && req.ContentLength <= taken && req.Header.Get("Expect") == ""
}

// isUpgrade says whether a request asks for another protocol, as a WebSocket does.
func isUpgrade(req *http.Request) bool {
	return req.Header.Get("Upgrade") != "" && hasToken(req.Header["Connection"], "upgrade")
}

// isWebSocket says whether an upgrade is to WebSocket.
func isWebSocket(header http.Header) bool {
	return strings.EqualFold(header.Get("Upgrade"), "websocket") && hasToken(header["Connection"], "upgrade")
}

// isGRPC says whether a request is a gRPC call, which reads errors from trailers.
func isGRPC(req *http.Request) bool {
	return strings.HasPrefix(req.Header.Get("Content-Type"), "application/grpc")
}

// hasToken says whether a comma-separated header holds a value, parameters aside.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			part, _, _ = strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
