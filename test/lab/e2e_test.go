//go:build e2e

package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

const image = "mock-app:latest"

// start makes a lab that goes with the test.
func start(t *testing.T, options Options) *Lab {
	t.Helper()
	options.Name, options.Owned = fmt.Sprintf("test-%d", os.Getpid()), true
	l, err := Up(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// call asks the engine over the network, as a caller with the lab's certificate.
func (n *Node) call(t *testing.T, within time.Duration) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(n.lab.CertFile(), n.lab.KeyFile())
	must(t, err)
	authority, err := os.ReadFile(n.lab.CAFile())
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := http.Client{Timeout: within, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
	}}
	response, err := client.Get(strings.Replace(n.Endpoint(), "tcp", "https", 1) + "/_ping")
	if err == nil {
		response.Body.Close()
	}
	return err
}

// get asks an app from inside of a network namespace.
func get(namespace, address string) error {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return Dial(namespace, net.JoinHostPort(address, "9000"))
		},
	}}
	response, err := client.Get("http://app/status")
	if err == nil {
		response.Body.Close()
	}
	return err
}

// runApp starts an app and returns the namespace that it is in and its address there.
func (n *Node) runApp(t *testing.T, network string) (namespace, address string) {
	t.Helper()
	_, err := n.Docker(t.Context(), "run", "-d", "--name", "app-"+n.Name, "--network", network, "-e", "IDLE=0", image)
	must(t, err)
	said, err := n.Docker(t.Context(), "inspect", "-f", "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "app-"+n.Name)
	must(t, err)
	pid, address, _ := strings.Cut(said, " ")
	namespace = "/proc/" + pid + "/ns/net"
	eventually(t, "the app answers", func() error { return get(namespace, "127.0.0.1") })
	return namespace, address
}

func eventually(t *testing.T, what string, look func() error) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-ticker.C {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s: %v", what, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAppsOnAnOverlayReachEachOtherUntilTheirNodesAreCut(t *testing.T) {
	l := start(t, Options{Nodes: 3, Swarm: true})
	must(t, l.Load(t.Context(), image))
	one, two := l.Nodes[0], l.Nodes[1]
	if id(t, one) == id(t, two) {
		t.Errorf("two engines say that they are the same one")
	}
	_, err := one.Docker(t.Context(), "network", "create", "-d", "overlay", "--attachable", "over")
	must(t, err)
	from, _ := one.runApp(t, "over")
	_, to := two.runApp(t, "over")
	reaches := func() error { return get(from, to) }
	eventually(t, "the apps reach each other", reaches)

	must(t, two.Cut(t.Context(), CutEngine))
	must(t, reaches())
	if err := two.call(t, time.Second); err == nil {
		t.Errorf("the engine answers although its port is cut")
	}
	must(t, two.Mend(t.Context()))
	must(t, two.call(t, 15*time.Second))

	must(t, two.Cut(t.Context(), one.Name))
	if reaches() == nil {
		t.Errorf("the apps reach each other although their nodes are cut from each other")
	}
	must(t, two.call(t, 15*time.Second)) // this machine is not cut from it
	must(t, two.Mend(t.Context()))
	eventually(t, "the apps reach each other again", reaches)

	must(t, two.Freeze())
	must(t, reaches())
	must(t, two.Thaw())
	must(t, two.KillEngine())
	must(t, reaches())
}

// id is who the engine says that it is.
func id(t *testing.T, n *Node) string {
	t.Helper()
	said, err := n.Docker(t.Context(), "info", "--format", "{{.ID}}")
	must(t, err)
	return said
}

func TestEachThingThatIsBrokenIsSeenFromOutsideAndHeals(t *testing.T) {
	l := start(t, Options{Nodes: 1})
	n := l.Nodes[0]
	must(t, n.call(t, 15*time.Second))
	for _, c := range []struct {
		state string
		deed  func() error
	}{
		{"cut", func() error { return n.Cut(t.Context(), CutAll) }},
		{"cut", func() error { return n.Cut(t.Context(), CutHost) }},
		{"frozen", n.Freeze},
		{"dead", n.KillEngine},
		{"dead", n.StopEngine},
		{"down", func() error { return n.Kill(t.Context()) }},
	} {
		must(t, c.deed())
		if err := n.call(t, 300*time.Millisecond); err == nil {
			t.Errorf("%s: the engine answers", c.state)
		}
		again, err := Open(l.Name) // as the next command of a person does
		must(t, err)
		if got := again.Nodes[0].State(t.Context()); got != c.state {
			t.Errorf("the node is %s, want %s", got, c.state)
		}
		must(t, n.Heal(t.Context()))
		must(t, n.call(t, 15*time.Second))
		if got := n.State(t.Context()); got != "up" {
			t.Errorf("after it was %s and healed, the node is %s", c.state, got)
		}
	}
}

func TestASlowEngineAnswersLateAndAFullDiskTakesNothing(t *testing.T) {
	l := start(t, Options{Nodes: 1, DiskMB: map[string]int{"node-1": 200}, LiveRestore: []string{"node-1"}})
	n := l.Nodes[0]
	restore, err := n.Slow(t.Context(), 200*time.Millisecond)
	must(t, err)
	began := time.Now()
	must(t, n.call(t, 15*time.Second))
	if took := time.Since(began); took < 400*time.Millisecond { // a handshake and a request
		t.Errorf("a call of a slow engine took %v", took)
	}
	must(t, restore())
	must(t, n.call(t, 5*time.Second))

	must(t, n.Fill())
	if err := l.Load(t.Context(), image); err == nil {
		t.Errorf("a full disk has taken an image")
	}
	must(t, n.Free())
	must(t, l.Load(t.Context(), image))
	namespace, _ := n.runApp(t, "bridge")
	must(t, n.KillEngine())
	must(t, n.StartEngine(t.Context()))
	must(t, get(namespace, "127.0.0.1")) // live-restore
}

func TestALabWhoseOwnerIsGoneIsRemovedByTheNext(t *testing.T) {
	l := start(t, Options{Nodes: 1})
	must(t, l.Load(t.Context(), image))
	l.Nodes[0].runApp(t, "bridge")
	orphaned, err := Open(l.Name)
	must(t, err)
	orphaned.state.Owner.Started++ // another process of that number
	must(t, orphaned.save())

	next, err := Up(t.Context(), Options{Name: l.Name + "-b", Nodes: 1, Owned: true})
	must(t, err)
	running, err := l.Nodes[0].processes()
	must(t, err)
	if len(running) > 0 {
		t.Errorf("processes of the former lab are still there: %v", running)
	}
	for _, file := range []string{l.Dir, l.Nodes[0].Namespace(), "/sys/class/net/" + l.bridge()} {
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", file, err)
		}
	}
	must(t, next.Nodes[0].call(t, 15*time.Second))
	if _, err := Up(t.Context(), Options{Name: next.Name, Nodes: 1}); err == nil || !strings.Contains(err.Error(), "up already") {
		t.Errorf("a second lab of the same name: %v", err)
	}
	must(t, next.Nodes[0].call(t, 15*time.Second))
	must(t, next.Down(context.Background()))
}
