package client

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// target is a parsed Config.URL.
type target struct {
	base   *url.URL      // what requests are made to
	shown  string        // without credentials
	user   *url.Userinfo // of an http URL
	clear  bool          // what is sent can be read on its way
	socket string        // unix
	ssh    *sshTarget
}

func parseTarget(text string) (target, error) {
	if text == "" {
		text = DefaultURL
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return target{}, fmt.Errorf("cannot read the spawner's URL: %w", hideUser(err))
	}
	t := target{shown: shownURL(u)}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			return target{}, fmt.Errorf("the spawner's URL %q has no host", t.shown)
		}
		t.user, t.clear = u.User, u.Scheme == "http" && !loopback(u.Hostname())
		t.base = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}
	case "unix":
		if u.Host != "" || u.Path == "" {
			return target{}, fmt.Errorf("the spawner's URL %q is not of the form unix:///path/of.sock", t.shown)
		}
		t.socket = u.Path
		t.base = &url.URL{Scheme: "http", Host: "localhost"}
	case "ssh":
		t.ssh, err = parseSSH(u)
		t.base = &url.URL{Scheme: "http", Host: "localhost"}
	default:
		err = fmt.Errorf("the spawner's URL %q begins with none of http://, https://, unix:// and ssh://", t.shown)
	}
	return t, err
}

// shownURL is u without a password.
func shownURL(u *url.URL) string {
	shown := *u
	if u.Scheme != "ssh" {
		shown.User = nil
	}
	return shown.Redacted()
}

// hideUser drops the URL, with what credentials it holds, from a parser's error.
func hideUser(err error) error {
	if wrong, ok := err.(*url.Error); ok {
		return wrong.Err
	}
	return err
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

func refuseClear(shown string) error {
	return fmt.Errorf("a credential is not sent in clear to %s: use https://, or a tunnel with --host ssh://user@host", shown)
}

// parseSSH reads ssh://user@host[:port][/path/of.sock][?api=host:port].
func parseSSH(u *url.URL) (*sshTarget, error) {
	if u.Hostname() == "" {
		return nil, fmt.Errorf("the spawner's URL %q has no host", shownURL(u))
	}
	if _, set := u.User.Password(); set {
		return nil, fmt.Errorf("a password in %q is not used: ssh goes by keys", shownURL(u))
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	t := &sshTarget{user: u.User.Username(), address: net.JoinHostPort(u.Hostname(), port), network: "tcp", far: "127.0.0.1:8008"}
	api := u.Query().Get("api")
	switch {
	case api != "":
		t.far = api
	case strings.Trim(u.Path, "/") != "":
		t.network, t.far = "unix", u.Path
	}
	return t, nil
}
