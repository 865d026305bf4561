package main

import (
	"io"
	"net/http"
)

// echoed is what the app saw of a request, byte for byte where JSON allows.
type echoed struct {
	Method           string      `json:"method"`
	URI              string      `json:"uri"`
	Proto            string      `json:"proto"`
	Host             string      `json:"host"`
	Headers          http.Header `json:"headers"`
	ContentLength    int64       `json:"content_length"` // -1 = not told
	TransferEncoding []string    `json:"transfer_encoding,omitempty"`
	Body             []byte      `json:"body"` // base64
	Trailers         http.Header `json:"trailers,omitempty"`
}

// maxEcho is how much of a body is shown back, in bytes.
const maxEcho = 8 << 20

// echo answers with the request as it arrived, and with who answered in
// X-Hostname. ?status= chooses the answer's status, ?trailer= sends that value
// as the trailer X-Echo-Trailer, ?stream=1 sends the head before the body, whose
// length it does not tell.
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	status, ok := queryNumber(w, r, "status", http.StatusOK)
	if !ok {
		return
	}
	if status < 200 || status > 599 {
		http.Error(w, "status must be 200 to 599", http.StatusBadRequest)
		return
	}
	seen := echoed{
		Method: r.Method, URI: r.RequestURI, Proto: r.Proto, Host: r.Host, Headers: r.Header,
		ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding,
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEcho))
	if err != nil {
		return // the client has gone
	}
	seen.Body, seen.Trailers = body, r.Trailer
	if trailer := r.URL.Query().Get("trailer"); trailer != "" {
		w.Header().Set("Trailer", "X-Echo-Trailer")
		defer w.Header().Set("X-Echo-Trailer", trailer)
	}
	w.Header().Set("X-Hostname", a.config.Hostname)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status))
	if status == http.StatusNoContent || status == http.StatusNotModified {
		return
	}
	if r.URL.Query().Get("stream") != "" {
		if err := http.NewResponseController(w).Flush(); err != nil {
			return // the client has gone
		}
	}
	writeJSON(w, seen)
}
