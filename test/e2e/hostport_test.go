//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// publishing is a mock-app whose port is published on the host.
func publishing(s *stand.Stand, name string, port, replicas int) fleet.Spec {
	app := s.MockApp(name, name+".test")
	app.Replicas = replicas
	app.Ports = []fleet.Port{{ContainerPort: 9000, HostPort: port, HostIP: "127.0.0.1", Protocol: "tcp"}}
	return app
}

// askPort asks a port of the host over a connection of its own.
func askPort(port int) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func mustAnswerOnPort(t *testing.T, port int, texts ...string) {
	t.Helper()
	body, err := askPort(port)
	if err != nil {
		t.Fatalf("port %d of the host: %v", port, err)
	}
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Errorf("port %d of the host answers without %q: %s", port, text, body)
		}
	}
}

// publishers are the names of a service's replicas that hold a host port.
func publishers(s *stand.Stand, service string) (names []string) {
	for _, replica := range s.Service(service).Detail {
		if len(replica.Published) > 0 {
			names = append(names, replica.Name)
		}
	}
	return names
}

func TestOneReplicaANodeHoldsTheHostPortThroughUpdatesScalesAndSleeps(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	port := stand.FreePort(t)
	web := publishing(s, "web", port, 2)
	web.Env["IDS_URL"] = secret(collector.URL)
	s.Deploy(web)
	mustAnswerOnPort(t, port, "hostname: web-0")
	if got := fmt.Sprint(publishers(s, "web")); got != "[web-0]" {
		t.Errorf("the port is held by %s, want web-0 alone", got)
	}
	sandbox := s.SandboxOf("web", 0)

	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	s.Deploy(withVersion(t, web, 1))
	traffic.Stop().MustBeClean(t)
	mustAnswerOnPort(t, port, "hostname: web-0", "version: 1")
	if now := s.SandboxOf("web", 0); now != sandbox {
		t.Errorf("an update has replaced the sandbox that holds the port")
	}
	mustServeRevision(t, s, "web", 2, 2)

	s.Scale("web", 1)
	mustAnswerOnPort(t, port, "hostname: web-0")
	s.Sleep("web")
	if body, err := askPort(port); err == nil {
		t.Errorf("the port of a sleeper answers %s", body)
	}
	s.Get("web.test", "/").MustBe(200)
	mustAnswerOnPort(t, port, "hostname: web-0", "version: 1")

	moved := stand.FreePort(t)
	s.Deploy(publishing(s, "web", moved, 1))
	mustAnswerOnPort(t, moved, "hostname: web-0")
	if body, err := askPort(port); err == nil {
		t.Errorf("the port that it had before still answers %s", body)
	}
	mustServeRevision(t, s, "web", 3, 1)
}

func TestAHostPortThatIsTakenIsRefusedWithItsHoldersName(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	port, free := stand.FreePort(t), stand.FreePort(t)
	mustFail := func(spec fleet.Spec, holder string) {
		t.Helper()
		job, err := s.TryDeploy(spec)
		said := fmt.Sprint(err)
		if err == nil {
			if job.State != fleet.JobFailed {
				t.Fatalf("the deploy of %s is %s, want failed", spec.Name, job.State)
			}
			said = job.Error
		}
		if !strings.Contains(said, holder) || !strings.Contains(said, fmt.Sprint(port)) {
			t.Errorf("the deploy of %s failed with %q, want it to name port %d and %s", spec.Name, said, port, holder)
		}
	}

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	mustFail(publishing(s, "web", port, 1), "a process of the host")
	listener.Close()

	stranger := s.Name("stranger")
	stand.Docker(t, "run", "-d", "--name", stranger, "-p", fmt.Sprintf("127.0.0.1:%d:9000", port), "-e", "IDLE=0", stand.MockAppImage)
	t.Cleanup(func() { stand.Docker(t, "rm", "-f", stranger) })
	mustFail(publishing(s, "web", port, 1), stranger)

	s.Deploy(publishing(s, "web", free, 1)) // an update to a port that is taken leaves the old one
	mustFail(publishing(s, "web", port, 1), stranger)
	mustAnswerOnPort(t, free, "hostname: web-0")
	s.Get("web.test", "/").MustBe(200)

	stand.Docker(t, "rm", "-f", stranger)
	s.Deploy(publishing(s, "web", port, 1))
	mustAnswerOnPort(t, port, "hostname: web-0")
	mustFail(publishing(s, "other", port, 1), "web")
	for _, service := range s.Services() {
		if service.Name == "other" {
			t.Errorf("the refused service is there: %+v", service)
		}
	}
}

func TestADeepSleeperWhosePortIsTakenMeanwhileIsReachedThroughTheEdge(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	port := stand.FreePort(t)
	web := publishing(s, "web", port, 1)
	web.Sleep.Mode = fleet.SleepDeep
	s.Deploy(web)
	s.Sleep("web")
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) // deep sleep gives it free
	if err != nil {
		t.Fatalf("a deep sleeper holds its port: %v", err)
	}
	s.Get("web.test", "/").MustBe(200).MustContain("hostname: web-0")
	listener.Close()
	s.Sleep("web")
	s.Get("web.test", "/").MustBe(200)
	mustAnswerOnPort(t, port, "hostname: web-0")
}
