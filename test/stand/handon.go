package stand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// loopback is the address of a port that only its own machine reaches.
func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// handOnAll hands each connection of the listener on to where dial leads, until
// end is called. Where that fails the connection is closed, as if nobody
// listened here either.
func handOnAll(listener net.Listener, dial func() (net.Conn, error)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var handed sync.WaitGroup
	handed.Go(func() {
		for {
			connection, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				handed.Go(func() { handOn(ctx, connection, dial) })
			}
		}
	})
	return func() {
		cancel()
		listener.Close()
		handed.Wait()
	}
}

func handOn(ctx context.Context, connection net.Conn, dial func() (net.Conn, error)) {
	defer connection.Close()
	target, err := dial()
	if err != nil {
		return
	}
	defer target.Close()
	defer context.AfterFunc(ctx, func() {
		connection.Close()
		target.Close()
	})()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(connection, target) // either end may go as it likes
		connection.Close()
	})
	_, _ = io.Copy(target, connection)
	target.Close()
	back.Wait()
}
