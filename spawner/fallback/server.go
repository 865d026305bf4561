package fallback

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer returns the server of the public listener. It bounds what a
// connection without a request may cost, and nothing of a request itself: one
// may wait, upload or stream for as long as it takes. HTTP/2 is served without
// TLS too, for clients that begin with it.
func NewServer(address string, handler http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Addr:              address,
		Handler:           handler,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 1000},
		ReadHeaderTimeout: 10 * time.Second,
		// The edge has taken the client's headers, by the default of 1 MiB, and added its own.
		MaxHeaderBytes: http.DefaultMaxHeaderBytes + 64<<10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	// An edge that kept an idle connection could send a POST on it in the very
	// moment in which the spawner ends, and would not send it again: it might have
	// arrived. A connection that is refused proves that nothing did. It is this
	// side that closes, so an edge under load does not run out of ports.
	server.SetKeepAlivesEnabled(false)
	return server
}
