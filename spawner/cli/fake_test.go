package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // what people are shown is local
	os.Exit(m.Run())
}

// spawnerStub answers the API from a table of "METHOD /path", and remembers what it was asked.
type spawnerStub struct {
	*httptest.Server

	mu    sync.Mutex
	asked []string // METHOD /path?query
	body  string   // of the last request that had one
	token string   // of the last request
}

func newSpawner(t *testing.T, answers map[string]any) *spawnerStub {
	t.Helper()
	stub := &spawnerStub{}
	stub.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stub.record(r)
		answer, known := answers[r.Method+" "+r.URL.Path]
		switch answer := answer.(type) {
		case nil:
			if !known {
				answerJSON(w, http.StatusNotFound, map[string]any{"error": fleet.Errorf(fleet.NotFound, "nothing at %s %s", r.Method, r.URL.Path)})
				return
			}
			w.WriteHeader(http.StatusNoContent)
		case *fleet.Error:
			answerJSON(w, answer.Kind.HTTPStatus(), map[string]any{"error": answer})
		case http.HandlerFunc:
			answer(w, r)
		default:
			answerJSON(w, http.StatusOK, answer)
		}
	}))
	t.Cleanup(stub.Close)
	return stub
}

func (s *spawnerStub) record(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	if len(body) > 0 {
		s.body = string(body)
	}
	s.token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (s *spawnerStub) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// outcome is what a command line came to.
type outcome struct {
	code     int
	out, err string
}

// run carries out a command line without a terminal; the environment is given in pairs.
func run(t *testing.T, dir, in string, environment []string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	system := System{
		In: strings.NewReader(in), Out: &out, Err: &errs, Dir: dir,
		LookupEnv: func(name string) (string, bool) {
			for i := 0; i < len(environment); i += 2 {
				if environment[i] == name {
					return environment[i+1], true
				}
			}
			return "", false
		},
	}
	code := Run(context.Background(), system, args)
	return outcome{code, out.String(), errs.String()}
}

// ask carries out a command line against the stub.
func (s *spawnerStub) ask(t *testing.T, args ...string) outcome {
	t.Helper()
	return run(t, "", "", []string{"SPAWNER_URL", s.URL, "SPAWNER_TOKEN", "quite-secret"}, args...)
}

// at is a moment in the morning of the seed's example.
func at(clock string) time.Time {
	moment, err := time.Parse("2006-01-02 15:04:05.000", "2024-01-15 "+clock)
	if err != nil {
		panic(err)
	}
	return moment
}
