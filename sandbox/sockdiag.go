package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// The kernel's constants of linux/sock_diag.h, linux/inet_diag.h, linux/netlink.h and net/tcp_states.h.
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	inetDiagInfo     = 2    // attribute: struct tcp_info
	dumpInterrupted  = 0x10 // NLM_F_DUMP_INTR: the table changed under the dump

	stateEstablished = 1
	stateCloseWait   = 8
	stateListen      = 10

	requestSize = 56 // struct inet_diag_req_v2
	messageSize = 72 // struct inet_diag_msg
	headerSize  = syscall.NLMSG_HDRLEN
)

// The offsets in struct tcp_info; a kernel that is older gives a shorter one.
const (
	offsetLastSent      = 44  // u32, ms
	offsetLastReceived  = 52  // u32, ms
	offsetBytesAcked    = 120 // u64
	offsetBytesReceived = 128 // u64
)

// socket is what the kernel tells about one TCP socket.
type socket struct {
	state         uint8
	local, remote netip.AddrPort // IPv4 in IPv6 is told as IPv4
	unsent        uint32         // bytes in the send queue
	lastSent      time.Duration  // since data was last sent
	lastRecv      time.Duration  // since data last came in
	bytesIn       uint64
	bytesOut      uint64 // acknowledged by the peer
}

// errInterrupted is a dump that the kernel calls inconsistent.
var errInterrupted = errors.New("the table of sockets changed while it was read")

// dumpSockets returns the TCP sockets of a family in this network namespace
// that listen, are established or wait for their own side to close.
func dumpSockets(family uint8) ([]socket, error) {
	const attempts = 5
	var sockets []socket
	var err error
	for range attempts {
		if sockets, err = dumpOnce(family); !errors.Is(err, errInterrupted) {
			return sockets, err
		}
	}
	return sockets, err
}

func dumpOnce(family uint8) ([]socket, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	timeout := syscall.Timeval{Sec: 2}
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &timeout); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	kernel := &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}
	if err := syscall.Sendto(fd, dumpRequest(family), 0, kernel); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var sockets []socket
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		done, err := readMessages(buffer[:n], &sockets)
		if done || err != nil {
			return sockets, err
		}
	}
}

// dumpRequest is a netlink header and a struct inet_diag_req_v2 that ask for
// all TCP sockets of the family in the three states, with their tcp_info.
func dumpRequest(family uint8) []byte {
	request := make([]byte, headerSize+requestSize)
	binary.NativeEndian.PutUint32(request[0:], uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	body := request[headerSize:]
	body[0] = family
	body[1] = syscall.IPPROTO_TCP
	body[2] = 1 << (inetDiagInfo - 1)
	states := uint32(1<<stateEstablished | 1<<stateCloseWait | 1<<stateListen)
	binary.NativeEndian.PutUint32(body[4:], states)
	return request
}

// readMessages adds the sockets of one datagram and says whether it was the last.
func readMessages(data []byte, sockets *[]socket) (done bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(data)
	if err != nil {
		return true, fmt.Errorf("cannot read the kernel's answer: %w", err)
	}
	for _, message := range messages {
		switch message.Header.Type {
		case syscall.NLMSG_DONE:
			if message.Header.Flags&dumpInterrupted != 0 {
				return true, errInterrupted
			}
			return true, nil
		case syscall.NLMSG_ERROR:
			return true, kernelError(message.Data)
		case sockDiagByFamily:
			if message.Header.Flags&dumpInterrupted != 0 {
				return true, errInterrupted
			}
			s, err := parseSocket(message.Data)
			if err != nil {
				return true, err
			}
			*sockets = append(*sockets, s)
		}
	}
	return false, nil
}

func kernelError(data []byte) error {
	if len(data) < 4 {
		return errors.New("the kernel answered an error without a number")
	}
	number := int32(binary.NativeEndian.Uint32(data))
	if number == 0 {
		return errors.New("the kernel acknowledged instead of answering")
	}
	return os.NewSyscallError("sock_diag", syscall.Errno(-number))
}

// parseSocket reads a struct inet_diag_msg and the attributes behind it.
func parseSocket(data []byte) (socket, error) {
	if len(data) < messageSize {
		return socket{}, fmt.Errorf("the kernel told a socket in %d bytes instead of %d", len(data), messageSize)
	}
	family := data[0]
	s := socket{
		state:  data[1],
		local:  address(family, data[8:24], data[4:6]),
		remote: address(family, data[24:40], data[6:8]),
		unsent: binary.NativeEndian.Uint32(data[60:]),
	}
	for rest := data[messageSize:]; len(rest) >= 4; {
		length := int(binary.NativeEndian.Uint16(rest))
		kind := binary.NativeEndian.Uint16(rest[2:])
		if length < 4 || length > len(rest) {
			return socket{}, fmt.Errorf("the kernel told an attribute of %d bytes where %d are left", length, len(rest))
		}
		if kind == inetDiagInfo {
			s.readInfo(rest[4:length])
		}
		rest = rest[min((length+3)&^3, len(rest)):]
	}
	return s, nil
}

// readInfo reads what is wanted of a struct tcp_info.
func (s *socket) readInfo(info []byte) {
	if len(info) >= offsetLastReceived+4 {
		s.lastSent = time.Duration(binary.NativeEndian.Uint32(info[offsetLastSent:])) * time.Millisecond
		s.lastRecv = time.Duration(binary.NativeEndian.Uint32(info[offsetLastReceived:])) * time.Millisecond
	}
	if len(info) >= offsetBytesReceived+8 {
		s.bytesOut = binary.NativeEndian.Uint64(info[offsetBytesAcked:])
		s.bytesIn = binary.NativeEndian.Uint64(info[offsetBytesReceived:])
	}
}

// address reads an address and its port, both in network order.
func address(family uint8, addr, port []byte) netip.AddrPort {
	ip := netip.AddrFrom16([16]byte(addr)).Unmap()
	if family == syscall.AF_INET {
		ip = netip.AddrFrom4([4]byte(addr[:4]))
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(port))
}
