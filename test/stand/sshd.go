package stand

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"edgespawner/test/lab"
)

// sshPort is where the sshd of a node listens, on the node's address.
const sshPort = "2222"

// SSHD is OpenSSH's own sshd on a node of the lab, as the way to its engine.
type SSHD struct {
	*Process
	Endpoint string // ssh://user@address:port/path/of.sock
	KeyFile  string // of whom it lets in
	HostKey  string // the fingerprint of its own key
}

// StartSSHD starts one, which goes away at the end of the test. It sees this
// machine's files, as all nodes of a lab do: so the endpoint says which socket.
func (s *Stand) StartSSHD(node *lab.Node) *SSHD {
	s.t.Helper()
	dir := filepath.Join(s.Dir, "sshd-"+node.Name)
	must(s.t, os.MkdirAll(dir, 0o700), "make a folder")
	must(s.t, os.MkdirAll("/run/sshd", 0o755), "make sshd's folder") // its own package makes it at boot
	host, mine := s.sshKey(dir, "host"), s.sshKey(dir, "mine")
	me, err := user.Current()
	must(s.t, err, "find out who this is")
	address := net.JoinHostPort(node.Address(), sshPort)
	config := filepath.Join(dir, "config")
	must(s.t, os.WriteFile(config, []byte(strings.Join([]string{
		"ListenAddress " + address, "HostKey " + host, "AuthorizedKeysFile " + mine + ".pub",
		"PidFile none", "UsePAM no", "StrictModes no", "PasswordAuthentication no", "",
	}, "\n")), 0o600), "write sshd's configuration")

	said, err := exec.Command("ssh-keygen", "-l", "-f", host+".pub").Output()
	must(s.t, err, "ask for a fingerprint")
	program, args := (&home{namespace: node.Namespace()}).enter("/usr/sbin/sshd", []string{"-D", "-e", "-f", config})
	d := &SSHD{
		Process:  newProcess(s.t, s.Dir, "sshd-"+node.Name, program, args, nil),
		Endpoint: "ssh://" + me.Username + "@" + address + node.Socket(), KeyFile: mine, HostKey: strings.Fields(string(said))[1],
	}
	s.t.Cleanup(d.Kill)
	d.Start()
	d.awaitListening(readyTime, address)
	return d
}

// Kill ends it and, unlike sshd's own end, the connections that it has.
func (d *SSHD) Kill() {
	below := descendants(d.PID())
	d.Process.Kill()
	for _, pid := range below {
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is as good
	}
}

// descendants returns the children of a process, theirs, and so on.
func descendants(pid int) []int {
	var list []int
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid)) // nothing of a process that is gone
	for _, field := range strings.Fields(string(children)) {
		if child, err := strconv.Atoi(field); err == nil {
			list = append(append(list, child), descendants(child)...)
		}
	}
	return list
}

// sshKey makes a key without a passphrase, and returns its file.
func (s *Stand) sshKey(dir, name string) string {
	s.t.Helper()
	file := filepath.Join(dir, name)
	said, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput()
	must(s.t, err, "make a key: %s", said)
	return file
}
