package probes

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"

	"edgespawner/fleet"
)

// serve starts an app and returns it as a target.
func serve(t *testing.T, handler http.HandlerFunc) Target {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return targetAt(t, server.Listener.Addr().String())
}

func targetAt(t *testing.T, address string) Target {
	t.Helper()
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return Target{
		Replica: "api-0", Service: "api", Node: "local", AppID: "cafe",
		Addr: parsed.Addr(), Port: int(parsed.Port()),
	}
}

// closedPort returns a target whose port refuses.
func closedPort(t *testing.T) Target {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := targetAt(t, listener.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return target
}

func httpCheck(target Target, host, path string) fleet.HealthCheck {
	return fleet.HealthCheck{
		Type:     fleet.CheckHTTP,
		Endpoint: "http://" + net.JoinHostPort(host, strconv.Itoa(target.Port)) + path,
	}
}

// execFunc is an Execer.
type execFunc func(ctx context.Context, node, id string, command []string) (fleet.ExecResult, error)

func (f execFunc) Exec(ctx context.Context, node, id string, command []string) (fleet.ExecResult, error) {
	return f(ctx, node, id, command)
}
