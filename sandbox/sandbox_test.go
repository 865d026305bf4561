package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test binary be the sandbox itself, so that signals are
// sent to a real process.
func TestMain(m *testing.M) {
	if os.Getenv("SANDBOX_TEST_WAIT") != "" {
		waitReady(func() { os.Stdout.WriteString("waiting\n") })
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestItWaitsAndEndsAtOnceOnSIGTERM(t *testing.T) {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "SANDBOX_TEST_WAIT=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, len("waiting\n"))); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("it ended %s after SIGTERM", took)
	}
}

func TestReapCollectsEveryChildThatHasEnded(t *testing.T) {
	var ids []int
	for range 3 {
		child, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, child.Pid)
		child.Release()
	}
	for _, id := range ids {
		waitUntilZombie(t, id)
	}
	reap()
	for _, id := range ids {
		if err := syscall.Kill(id, 0); err != syscall.ESRCH {
			t.Errorf("child %d is still there: %v", id, err)
		}
	}
}

// waitUntilZombie blocks in the kernel until the child has ended, and leaves it unreaped.
func waitUntilZombie(t *testing.T, id int) {
	t.Helper()
	const wNoWait, pPID = 0x01000000, 1
	var info [128]byte
	_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(id), uintptr(unsafe.Pointer(&info)), syscall.WEXITED|wNoWait, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
}

func TestAnUnknownArgumentIsRefusedByName(t *testing.T) {
	err := run([]string{"listen"})
	if err == nil || !strings.Contains(err.Error(), `"listen"`) {
		t.Errorf("got %v, want an error that names it", err)
	}
}

func TestTheKernelTellsAConnectionWithItsBytes(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client.Write([]byte("hello"))
		if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}

		var out bytes.Buffer
		if err := printConnections(&out); err != nil {
			t.Fatal(err)
		}
		var list []connection
		if err := json.Unmarshal(out.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range list {
			if c.Local.String() == server.LocalAddr().String() && c.Remote.String() == server.RemoteAddr().String() {
				found = true
				if c.BytesIn != 5 {
					t.Errorf("%s: %d bytes in, want 5", address, c.BytesIn)
				}
				if _, err := time.ParseDuration(c.LastRecv); err != nil {
					t.Error(err)
				}
				if c.Inbound {
					t.Errorf("%s: a connection from inside is told as inbound", address)
				}
			}
		}
		if !found {
			t.Errorf("%s: the connection is not in %s", address, out.String())
		}
	}
}

func TestInboundIsFromElsewhereToAPortThatIsListenedOn(t *testing.T) {
	at := netip.MustParseAddrPort
	sockets := []socket{
		{state: stateListen, local: at("[::]:80"), remote: at("[::]:0")},
		{state: stateEstablished, local: at("10.0.0.2:80"), remote: at("10.0.0.9:4000"), bytesIn: 1, bytesOut: 2, lastRecv: 90 * time.Second},
		{state: stateEstablished, local: at("10.0.0.2:5000"), remote: at("10.0.0.9:5432")},
		{state: stateEstablished, local: at("127.0.0.1:80"), remote: at("127.0.0.1:4001")},
		{state: stateEstablished, local: at("10.0.0.2:80"), remote: at("10.0.0.2:4002")},
		{state: stateCloseWait, local: at("10.0.0.2:80"), remote: at("10.0.0.9:4003"), lastSent: time.Hour},
		{state: stateCloseWait, local: at("10.0.0.2:80"), remote: at("10.0.0.9:4004"), lastSent: time.Hour, unsent: 1},
	}
	want := []connection{
		{Local: at("10.0.0.2:80"), Remote: at("10.0.0.9:4000"), LastRecv: "1m30s", Inbound: true, BytesIn: 1, BytesOut: 2},
		{Local: at("10.0.0.2:5000"), Remote: at("10.0.0.9:5432"), LastRecv: "0s"},
		{Local: at("127.0.0.1:80"), Remote: at("127.0.0.1:4001"), LastRecv: "0s"},
		{Local: at("10.0.0.2:80"), Remote: at("10.0.0.2:4002"), LastRecv: "0s"},
		{Local: at("10.0.0.2:80"), Remote: at("10.0.0.9:4004"), LastRecv: "0s", Inbound: true},
	}
	if diff := cmp.Diff(want, connections(sockets), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

func TestIPv4InIPv6IsToldAsIPv4(t *testing.T) {
	message := make([]byte, messageSize)
	message[0], message[1] = syscall.AF_INET6, stateEstablished
	binary.BigEndian.PutUint16(message[4:], 9000)
	binary.BigEndian.PutUint16(message[6:], 40000)
	local, remote := netip.MustParseAddr("::ffff:10.0.0.2").As16(), netip.MustParseAddr("::ffff:10.0.0.9").As16()
	copy(message[8:], local[:])
	copy(message[24:], remote[:])
	s, err := parseSocket(message)
	if err != nil {
		t.Fatal(err)
	}
	if s.local.String() != "10.0.0.2:9000" || s.remote.String() != "10.0.0.9:40000" {
		t.Errorf("got %s from %s", s.local, s.remote)
	}
}

func TestABrokenAnswerIsAnError(t *testing.T) {
	attribute := append(make([]byte, messageSize), 200, 0, inetDiagInfo, 0)
	for name, data := range map[string][]byte{"short": make([]byte, messageSize-1), "attribute too long": attribute} {
		if _, err := parseSocket(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
