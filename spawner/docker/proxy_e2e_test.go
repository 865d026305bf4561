//go:build e2e

package docker

import (
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"edgespawner/fleet"
)

// proxy stands between a pool and the engine, and can cut or freeze the line.
type proxy struct {
	listener net.Listener
	gate     sync.RWMutex // locked = frozen

	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener}
	t.Cleanup(func() { listener.Close(); p.cut() })
	go p.accept()
	return p
}

func (p *proxy) accept() {
	path := strings.TrimPrefix(DefaultEndpoint, "unix://")
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		path = strings.TrimPrefix(host, "unix://")
	}
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		engine, err := net.Dial("unix", path)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, engine)
		p.mu.Unlock()
		go p.carry(client, engine)
		go p.carry(engine, client)
	}
}

func (p *proxy) carry(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.gate.RLock()
		_, failed := to.Write(buffer[:n])
		p.gate.RUnlock()
		if err == io.EOF || err != nil || failed != nil {
			return
		}
	}
}

// cut breaks all connections; new ones are taken.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// pool is one that reaches the engine through the proxy.
func (p *proxy) pool(t *testing.T) *Pool {
	t.Helper()
	made := New(testFleet, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(func() { made.Close() })
	if err := made.Add(fleet.Node{Name: testNode, Endpoint: "tcp://" + p.listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	return made
}
