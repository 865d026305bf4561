package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// slow answers after ?d=, 5s by default.
func (a *app) slow(w http.ResponseWriter, r *http.Request) {
	if d, ok := queryDuration(w, r, "d", 5*time.Second); ok && pause(r.Context(), d) {
		fmt.Fprintf(w, "answered after %s\n", d)
	}
}

// upload counts the bytes of the body.
func (a *app) upload(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, "the body broke off", http.StatusBadRequest)
		return
	}
	writeJSON(w, map[string]any{"bytes": n, "sha256": hex.EncodeToString(sum.Sum(nil))})
}

// download sends ?bytes= bytes (1 MiB by default), at most ?rate= a second; 0 = as fast as it goes.
func (a *app) download(w http.ResponseWriter, r *http.Request) {
	left, ok := queryNumber(w, r, "bytes", 1<<20)
	if !ok {
		return
	}
	rate, ok := queryNumber(w, r, "rate", 0)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(left, 10))
	const slices = 10 // of a second
	block := make([]byte, 64<<10)
	flush := http.NewResponseController(w)
	for left > 0 {
		n := min(left, int64(len(block)))
		if rate > 0 {
			n = min(n, max(rate/slices, 1))
		}
		if _, err := w.Write(block[:n]); err != nil {
			return
		}
		left -= n
		if rate > 0 {
			flush.Flush()
			if !pause(r.Context(), time.Duration(float64(n)/float64(rate)*float64(time.Second))) {
				return
			}
		}
	}
}

// events sends a server-sent event at once and then one each ?every= (1s by
// default), ?count= of them; 0 = until the client goes.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	every, ok := queryDuration(w, r, "every", time.Second)
	if !ok {
		return
	}
	count, ok := queryNumber(w, r, "count", 0)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	flush := http.NewResponseController(w)
	for n := int64(1); ; n++ {
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n, a.config.Hostname); err != nil {
			return
		}
		flush.Flush()
		if n == count || !pause(r.Context(), every) {
			return
		}
	}
}

// websocket sends each message back.
func (a *app) websocket(w http.ResponseWriter, r *http.Request) {
	connection, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any origin: it is a demo
	if err != nil {
		return // Accept has answered
	}
	defer connection.CloseNow()
	connection.SetReadLimit(16 << 20)
	for {
		kind, message, err := connection.Read(r.Context())
		if err != nil {
			return
		}
		if err := connection.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
