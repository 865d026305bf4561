package stand

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTime is how long a process may take to end after SIGTERM before the
// harness kills it.
const stopTime = time.Minute

// Process is a program of the host that a stand runs; it can be killed and
// started again with the same arguments.
type Process struct {
	t       T
	name    string
	program string
	args    []string
	env     []string
	logFile string

	mu      sync.Mutex
	command *exec.Cmd     // guarded by mu; nil while down
	ended   chan struct{} // guarded by mu; closes when command has ended
}

// newProcess describes a process; nothing runs yet. Its output is appended to a file in dir.
func newProcess(t T, dir, name, program string, args, env []string) *Process {
	return &Process{t: t, name: name, program: program, args: args, env: env, logFile: filepath.Join(dir, name+".log")}
}

// Start starts it; it must be down.
func (p *Process) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command != nil {
		p.t.Fatalf("cannot start %s: it runs already", p.name)
	}
	output, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(p.t, err, "open the log of %s", p.name)
	command := exec.Command(p.program, p.args...)
	command.Env = append(os.Environ(), p.env...)
	command.Stdout, command.Stderr = output, output
	// A test binary that is killed must not leave its processes behind.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = command.Start()
	output.Close()
	must(p.t, err, "start %s", p.name)
	ended := make(chan struct{})
	p.command, p.ended = command, ended
	go func() {
		// How it ended is told by who ended it, or by its log.
		if err := command.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			fmt.Fprintf(os.Stderr, "cannot wait for %s: %v\n", p.name, err)
		}
		close(ended)
	}()
}

// Kill ends it by SIGKILL and returns when it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop ends it by SIGTERM, as an operator would, and returns its exit code.
func (p *Process) Stop() int { return p.end(syscall.SIGTERM) }

// Signal sends it a signal, such as SIGSTOP.
func (p *Process) Signal(signal syscall.Signal) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command == nil {
		p.t.Fatalf("cannot signal %s: it is down", p.name)
	}
	must(p.t, p.command.Process.Signal(signal), "signal %s", p.name)
}

// PID returns its process id; 0 while it is down.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command == nil {
		return 0
	}
	return p.command.Process.Pid
}

// Memory returns how much of its memory is resident, in KiB; 0 while it is down.
func (p *Process) Memory() int {
	p.t.Helper()
	pid := p.PID()
	if pid == 0 {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(p.t, err, "read the memory of %s", p.name)
	for line := range strings.SplitSeq(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			size, err := strconv.Atoi(fields[1])
			must(p.t, err, "read the memory of %s", p.name)
			return size
		}
	}
	p.t.Fatalf("the status of %s says nothing of its memory", p.name)
	return 0
}

// awaitListening waits until it takes connections at an address.
func (p *Process) awaitListening(limit time.Duration, address string) {
	p.t.Helper()
	Eventually(p.t, limit, p.name+" listens", func() error {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// Running says whether it has been started and has not ended.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Log returns what it has written.
func (p *Process) Log() string {
	written, err := os.ReadFile(p.logFile)
	if err != nil {
		return "cannot read the log: " + err.Error()
	}
	return string(written)
}

// LogTail returns the last lines of what it has written.
func (p *Process) LogTail(lines int) string {
	all := bytes.Split(bytes.TrimRight([]byte(p.Log()), "\n"), []byte("\n"))
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return string(bytes.Join(all, []byte("\n")))
}

// end sends the signal and waits; -1 when it was down or ended by a signal.
func (p *Process) end(signal syscall.Signal) int {
	p.mu.Lock()
	command, ended := p.command, p.ended
	p.command = nil
	p.mu.Unlock()
	if command == nil {
		return -1
	}
	// An error means that it has ended by itself, which is what is wanted.
	if err := command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Logf("cannot signal %s: %v", p.name, err)
	}
	select {
	case <-ended:
	case <-time.After(stopTime):
		p.t.Logf("%s did not end within %v of %v; killing it", p.name, stopTime, signal)
		if err := command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.t.Logf("cannot kill %s: %v", p.name, err)
		}
		<-ended
	}
	return command.ProcessState.ExitCode()
}
