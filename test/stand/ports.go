package stand

import (
	"net"
	"sync"
)

// given remembers the ports that this process has handed out, so that two
// stands never get the same one.
var given = struct {
	mu    sync.Mutex
	ports map[int]bool // guarded by mu
}{ports: map[int]bool{}}

// FreePort returns a TCP port of the loopback that nothing listens on.
func FreePort(t T) int {
	t.Helper()
	given.mu.Lock()
	defer given.mu.Unlock()
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err, "find a free port")
		port := listener.Addr().(*net.TCPAddr).Port
		listener.Close()
		if !given.ports[port] {
			given.ports[port] = true
			return port
		}
	}
}
