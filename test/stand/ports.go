package stand

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// given remembers the ports that this process has handed out, so that two
// stands never get the same one.
var given = struct {
	mu    sync.Mutex
	ports map[int]bool // guarded by mu
}{ports: map[int]bool{}}

// The ports that are handed out lie below those that the kernel hands out, so that
// one whose server is away for a while is no client's meanwhile.
const lowestPort, highestPort = 20000, 32000

// FreePort returns a TCP port of the loopback that nothing listens on.
func FreePort(t T) int {
	t.Helper()
	given.mu.Lock()
	defer given.mu.Unlock()
	for range highestPort - lowestPort {
		port := lowestPort + rand.N(highestPort-lowestPort)
		if given.ports[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // something else has it
		}
		listener.Close()
		given.ports[port] = true
		return port
	}
	t.Fatalf("found no free port from %d to %d", lowestPort, highestPort)
	return 0
}
