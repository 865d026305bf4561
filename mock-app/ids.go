package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// ids counts how often each id was posted. It is kept in a file, so that the
// count outlives a stop, a crash and a kill -9 of the app: an id that a client
// got acknowledged must stand there exactly once.
type ids struct {
	report string // URL that each id is posted to before it is acknowledged; empty = none
	client http.Client

	mu     sync.Mutex
	file   *os.File
	counts map[string]int
}

const maxID = 1024 // bytes

func openIDs(path, report string) (*ids, error) {
	s := &ids{report: report, counts: make(map[string]int), client: http.Client{Timeout: 5 * time.Second}}
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the ids: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		s.counts[lines.Text()]++
	}
	if s.file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return nil, fmt.Errorf("cannot keep the ids: %w", err)
	}
	return s, nil
}

func (s *ids) Close() { s.file.Close() }

// ServeHTTP counts the id in a POST's body, and lists {"id": count} otherwise.
func (s *ids) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		s.mu.Lock()
		defer s.mu.Unlock()
		writeJSON(w, s.counts)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxID+1))
	if err != nil {
		return // the client has gone
	}
	id := strings.TrimSpace(string(body))
	if id == "" || len(body) > maxID || strings.ContainsAny(id, "\r\n") {
		http.Error(w, "the body must be one id", http.StatusBadRequest)
		return
	}
	count, err := s.add(id)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string]any{"id": id, "count": count})
}

func (s *ids) add(id string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.WriteString(id + "\n"); err != nil {
		return 0, fmt.Errorf("cannot keep the id: %w", err)
	}
	s.counts[id]++
	if s.report != "" {
		response, err := s.client.Post(s.report, "text/plain", strings.NewReader(id))
		if err != nil {
			return 0, fmt.Errorf("cannot report the id: %w", err)
		}
		response.Body.Close()
	}
	return s.counts[id], nil
}
