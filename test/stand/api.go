package stand

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// CallAPI sends a request to the private API as it stands, without a credential
// unless header holds one.
func (s *Stand) CallAPI(method, path, body string, header map[string]string) Answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), jobTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, s.Spawner.APIURL+path, strings.NewReader(body))
	must(s.t, err, "build the request %s %s", method, path)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	began := time.Now()
	answer := Answer{t: s.t}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		answer.Err, answer.Took = err, time.Since(began)
		return answer
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	answer.Status, answer.Header = response.StatusCode, response.Header
	answer.Body, answer.Err, answer.Took = string(text), err, time.Since(began)
	return answer
}

// Metric returns the value of a metric of the spawner, as it is printed.
func (s *Stand) Metric(name string) string {
	s.t.Helper()
	value, there := s.FindMetric(name)
	if !there {
		s.t.Fatalf("the spawner has no metric %s", name)
	}
	return value
}

// FindMetric is Metric for one that may not be there: what is counted by labels
// is, from its first time on.
func (s *Stand) FindMetric(name string) (value string, there bool) {
	s.t.Helper()
	page := s.CallAPI(http.MethodGet, "/metrics", "", map[string]string{"Authorization": "Bearer " + s.Spawner.AdminToken()}).MustBe(http.StatusOK)
	for line := range strings.SplitSeq(page.Body, "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value, true
		}
	}
	return "", false
}
