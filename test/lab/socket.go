package lab

import (
	"errors"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// dialTime bounds a connection into a network namespace.
const dialTime = 5 * time.Second

// Listen listens in a network namespace, such as a node's or a container's
// (/proc/PID/ns/net); an empty one is this machine's own. The socket stays there.
func Listen(namespace, address string) (listener net.Listener, err error) {
	failed := within(namespace, func() { listener, err = net.Listen("tcp", address) })
	return listener, errors.Join(failed, err)
}

// Dial connects from inside of a network namespace, as Listen has it, to an
// address that is no name.
func Dial(namespace, address string) (connection net.Conn, err error) {
	failed := within(namespace, func() { connection, err = net.DialTimeout("tcp", address, dialTime) })
	return connection, errors.Join(failed, err)
}

// within runs do on a thread that is in the network namespace meanwhile.
func within(namespace string, do func()) error {
	if namespace == "" {
		do()
		return nil
	}
	there, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer there.Close()
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		here, err := os.Open("/proc/thread-self/ns/net")
		if err == nil {
			defer here.Close()
			err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			do()
			err = unix.Setns(int(here.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			// A thread that is left locked ends with its goroutine, and takes with it
			// the processes that it has started and that are to go with their parent.
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
