package fallback

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"edgespawner/fleet"
)

// home is the page that clients go to whom no rule leads to a service.
type home struct {
	url  string
	host string // lower case, without the scheme's own port; empty = the client's own
	path string // without a slash at the end; empty = the root
}

// newHome reads the URL of the home page; nil for an empty one.
func newHome(text string) (*home, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	relative := err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/")
	absolute := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	if !relative && !absolute {
		return nil, fleet.InvalidField("cookie_fallback_url", "must be a URL such as http://localhost/home or a path such as /home, not %q", text)
	}
	return &home{url: u.String(), host: plainHost(u.Host), path: strings.TrimRight(u.Path, "/")}, nil
}

// takes says whether a client is sent there: never from under the page itself,
// which would send it round for ever. Under a name that also leads here the
// path alone tells; a page at the root is told by its host.
func (h *home) takes(req *http.Request) bool {
	if h == nil || isGRPC(req) {
		return false
	}
	if h.path == "" {
		return h.host != "" && h.host != plainHost(req.Host)
	}
	return req.URL.Path != h.path && !strings.HasPrefix(req.URL.Path, h.path+"/")
}

// plainHost lowers a host and takes the ports of http and https off.
func plainHost(host string) string {
	host = strings.ToLower(host)
	if name, port, err := net.SplitHostPort(host); err == nil && (port == "80" || port == "443") {
		return name
	}
	return host
}
