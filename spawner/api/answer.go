package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

const (
	applicationJSON = "application/json"
	ndjson          = "application/x-ndjson"
	eventStream     = "text/event-stream"
	textPlain       = "text/plain"
)

// writeTimeout is how long one write to a client may take: a reader that
// stopped reading is let go, and holds no memory meanwhile but its socket's.
const writeTimeout = 30 * time.Second

// writeJSON answers. A client that is gone cannot be told, so errors end here.
func writeJSON(w http.ResponseWriter, status int, answer any) error {
	header := w.Header()
	header.Set("Content-Type", applicationJSON)
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(answer)
	return nil
}

// list keeps an empty list from being written as null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// accepts says whether the client names that media type.
func accepts(r *http.Request, media string) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), media) {
				return true
			}
		}
	}
	return false
}

// stream writes an answer that goes on. Errors of its methods mean that the client is gone.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
	gone    bool // a write failed
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, control: http.NewResponseController(w)}
}

// begin sends the header, once.
func (s *stream) begin(media string) {
	if s.begun {
		return
	}
	s.begun = true
	header := s.w.Header()
	header.Set("Content-Type", media)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	s.w.WriteHeader(http.StatusOK)
}

func (s *stream) write(data []byte) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // a recorder in a test has none
	_, err := s.w.Write(data)
	s.gone = s.gone || err != nil
	return err
}

func (s *stream) flush() error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	err := s.control.Flush()
	s.gone = s.gone || err != nil
	return err
}

// end sends what is left and takes the deadline off the connection, which may serve on.
func (s *stream) end() {
	if s.begun {
		_ = s.flush()
	}
	_ = s.control.SetWriteDeadline(time.Time{})
}
