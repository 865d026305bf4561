package stand

import (
	"fmt"
	"net/http"
	"time"
)

// Misbehave asks the mock-app of one replica, past every edge, for one of its
// faults, such as /crash, /hang or /oom?mb=200. What it answers, if it does, is of no interest.
func (s *Stand) Misbehave(service string, index int, fault string) {
	s.t.Helper()
	address := s.Service(service).Detail[index].Address
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(fmt.Sprintf("http://%s:%d%s", address, appPort, fault))
	if err != nil {
		return // as one that crashes does
	}
	response.Body.Close()
}
