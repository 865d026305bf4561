package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one that is known for certain: a number alone may have been given
// to another since.
type process struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks after the machine's start
}

// processOf returns the process that has the number now.
func processOf(pid int) process {
	return process{PID: pid, Started: statOf(pid).started}
}

func (p process) alive() bool {
	stat := statOf(p.PID)
	return p.PID > 0 && stat.started != 0 && stat.started == p.Started && stat.state != 'Z'
}

// frozen says whether it is stopped by a signal.
func (p process) frozen() bool { return p.alive() && statOf(p.PID).state == 'T' }

// signal sends a signal; a process that is gone is told as such.
func (p process) signal(signal syscall.Signal) error {
	if !p.alive() {
		return os.ErrProcessDone
	}
	return syscall.Kill(p.PID, signal)
}

type processStat struct {
	state   byte
	started uint64 // 0 = there is no such process
}

// statOf reads /proc/PID/stat: the fields after the name, which may hold anything, are fixed.
func statOf(pid int) processStat {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processStat{}
	}
	_, rest, found := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !found || len(fields) < 20 {
		return processStat{}
	}
	started, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return processStat{}
	}
	return processStat{state: fields[0][0], started: started}
}

// processes returns the numbers of all that run on the node: what is in its
// network namespace (dockerd, containerd, shims) or in its control group (containers).
func (n *Node) processes() ([]int, error) {
	var namespace syscall.Stat_t
	inNamespace := syscall.Stat(n.Namespace(), &namespace) == nil
	directories, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, directory := range directories {
		pid, err := strconv.Atoi(filepath.Base(directory))
		if err != nil || pid == os.Getpid() {
			continue
		}
		var its syscall.Stat_t
		same := inNamespace && syscall.Stat(directory+"/ns/net", &its) == nil && its.Ino == namespace.Ino && its.Dev == namespace.Dev
		if !same {
			groups, err := os.ReadFile(directory + "/cgroup")
			same = err == nil && bytes.Contains(groups, []byte(":"+n.controlGroup()+"/"))
		}
		if same && statOf(pid).state != 'Z' {
			found = append(found, pid)
		}
	}
	return found, nil
}

// killAll ends everything that runs on the node by SIGKILL, as a loss of power
// does, and returns when it is gone.
func (n *Node) killAll() error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(15 * time.Second); ; <-ticker.C {
		running, err := n.processes()
		if err != nil {
			return fmt.Errorf("cannot find the processes of %s: %w", n.Name, err)
		}
		if len(running) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot end the processes %v of %s", running, n.Name)
		}
		for _, pid := range running {
			// Gone meanwhile is what is wanted; anything else shows in the next round.
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// removeControlGroups removes the empty groups that containers have left. The
// kernel may still be taking the last process out.
func (n *Node) removeControlGroups() error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(5 * time.Second); ; <-ticker.C {
		left := n.removeEmptyGroups()
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot remove the control groups %v", left)
		}
	}
}

// removeEmptyGroups returns those that could not be removed.
func (n *Node) removeEmptyGroups() []string {
	var left []string
	for _, pattern := range []string{"/sys/fs/cgroup" + n.controlGroup(), "/sys/fs/cgroup/*" + n.controlGroup()} {
		tops, _ := filepath.Glob(pattern) // the pattern is well-formed
		for _, top := range tops {
			var below []string
			_ = filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					below = append(below, path)
				}
				return nil // what goes meanwhile is what is wanted
			})
			for i := len(below) - 1; i >= 0; i-- {
				if err := os.Remove(below[i]); err != nil && !os.IsNotExist(err) {
					left = append(left, below[i])
				}
			}
		}
	}
	return left
}
