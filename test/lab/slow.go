package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// slowPort is where the calls of a slow engine are led.
const slowPort = 2476

// Slow makes every call of the node's engine take that much longer, until the
// returned function is called: what a caller sends is handed on late, what the
// engine answers at once. Connections that were open are reset. The delay is
// made by this process.
func (n *Node) Slow(ctx context.Context, by time.Duration) (restore func() error, err error) {
	d := &delay{by: by, to: net.JoinHostPort(n.Address(), fmt.Sprint(enginePort)), namespace: n.Namespace()}
	listener, err := Listen(n.Namespace(), net.JoinHostPort(n.Address(), fmt.Sprint(slowPort)))
	if err != nil {
		return nil, fmt.Errorf("cannot slow %s down: %w", n.Name, err)
	}
	kept := context.WithoutCancel(ctx)
	serving, end := context.WithCancel(kept)
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.serve(serving, listener)
	}()
	restore = func() error {
		failed := n.straighten(kept)
		end()
		listener.Close()
		<-served
		return failed
	}
	for _, rule := range detour() {
		if err := run(ctx, n.inside(iptables("-I", rule)...)...); err != nil {
			return nil, errors.Join(err, restore())
		}
	}
	return restore, nil
}

// detour leads new connections to slowPort and resets those that are open.
func detour() [][]string {
	from := []string{"-i", "eth0", "-p", "tcp", "--dport", fmt.Sprint(enginePort), "-j"}
	return [][]string{
		append(append([]string{"nat", "PREROUTING"}, from...), "REDIRECT", "--to-ports", fmt.Sprint(slowPort)),
		append(append([]string{"filter", "INPUT"}, from...), "REJECT", "--reject-with", "tcp-reset"),
	}
}

// straighten takes the detour away, as far as it is there.
func (n *Node) straighten(ctx context.Context) error {
	var failed []error
	for _, rule := range detour() {
		if run(ctx, n.inside(iptables("-C", rule)...)...) == nil {
			failed = append(failed, run(ctx, n.inside(iptables("-D", rule)...)...))
		}
	}
	return errors.Join(failed...)
}

// delay hands connections on, in a network namespace, and late.
type delay struct {
	by        time.Duration
	to        string
	namespace string
}

func (d *delay) serve(ctx context.Context, listener net.Listener) {
	var handed sync.WaitGroup
	defer handed.Wait()
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			handed.Go(func() { d.handOn(ctx, connection) })
		}
	}
}

func (d *delay) handOn(ctx context.Context, caller net.Conn) {
	defer caller.Close()
	engine, err := Dial(d.namespace, d.to)
	if err != nil {
		return // as if nothing listened here either
	}
	defer engine.Close()
	defer context.AfterFunc(ctx, func() { caller.Close(); engine.Close() })()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(caller, engine) // either end may go as it likes
		caller.Close()
	})
	_, _ = io.Copy(late{ctx, engine, d.by}, caller)
	engine.Close()
	back.Wait()
}

// late writes after a time.
type late struct {
	ctx context.Context
	to  io.Writer
	by  time.Duration
}

func (l late) Write(data []byte) (int, error) {
	timer := time.NewTimer(l.by)
	defer timer.Stop()
	select {
	case <-timer.C:
		return l.to.Write(data)
	case <-l.ctx.Done():
		return 0, l.ctx.Err()
	}
}
