package fallback

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// mostEarly is the size up to which a body is read while its request waits.
const mostEarly = 16 << 10

// body is the body of a request that waits, ready to be sent more than once if
// no attempt has read it, or if it is early.
//
// The body of an HTTP/1 request that is small is read at once: only then does
// the server notice that the client leaves (HTTP/2 tells it anyway), and the
// same request can be repeated where that is allowed. A larger one streams to
// the app when there is one; until then its client is believed to be there.
type body struct {
	source io.ReadCloser
	empty  bool
	early  chan struct{} // closed when data and err stand; nil = not read early
	data   []byte
	err    error
	failed atomic.Bool // source could not be read to its end
	// streams is set when an app was to read it as it comes. If none has, nothing
	// more can be read from its connection than the body.
	streams bool
}

// holdBody begins to hold a request's body. left is called when the client
// breaks off in the middle of it.
func holdBody(req *http.Request, left context.CancelCauseFunc) *body {
	b := &body{source: req.Body, empty: req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0}
	if b.empty || req.ProtoMajor != 1 || req.ContentLength < 0 || req.ContentLength > mostEarly || req.Header.Get("Expect") != "" {
		return b
	}
	b.early = make(chan struct{})
	go func() { // release waits for it
		defer close(b.early)
		data := make([]byte, req.ContentLength)
		n, err := io.ReadFull(b.source, data)
		b.data = data[:n]
		if err != nil {
			b.err = err
			b.failed.Store(true)
			left(errLeft)
		}
	}()
	return b
}

// open returns the body for one attempt. Closing it leaves the body as it is.
func (b *body) open() io.ReadCloser {
	switch {
	case b.empty:
		return http.NoBody
	case b.early != nil:
		return &earlyReader{body: b}
	default:
		return &sourceReader{body: b}
	}
}

// repeatable says whether the body can be sent again after an app has read it.
func (b *body) repeatable() bool { return b.empty || b.early != nil }

// broken says whether the client broke off in the middle of the body.
func (b *body) broken() bool {
	return b.failed.Load()
}

// release ends the reading of a body, at the latest when its handler returns:
// the server must have it to itself then.
func (b *body) release(w http.ResponseWriter) {
	if b.streams {
		w.Header().Set("Connection", "close") // an answer that has begun is not changed by it
	}
	if b.early == nil {
		return
	}
	select {
	case <-b.early:
		return
	default:
	}
	// The client is still sending. Nothing more can be read from this connection.
	w.Header().Set("Connection", "close")
	if err := http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)); errors.Is(err, http.ErrNotSupported) {
		return // no connection, so nothing that a read could wait for
	}
	<-b.early
}

// earlyReader reads a body that was read early, from its beginning.
type earlyReader struct {
	body   *body
	reader *bytes.Reader
}

func (e *earlyReader) Read(p []byte) (int, error) {
	if e.reader == nil {
		<-e.body.early
		e.reader = bytes.NewReader(e.body.data)
	}
	n, err := e.reader.Read(p)
	if errors.Is(err, io.EOF) && e.body.err != nil {
		err = e.body.err
	}
	return n, err
}

func (e *earlyReader) Close() error { return nil }

// sourceReader reads a body as it comes, and leaves it open.
type sourceReader struct{ body *body }

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.body.source.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.body.failed.Store(true)
	}
	return n, err
}

func (s *sourceReader) Close() error { return nil }
