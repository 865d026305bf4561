package proxyhook

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"

	"golang.org/x/net/idna"

	"edgespawner/fleet"
)

// hostProfile makes DNS names of what people write. Unlike a browser's it lets
// names such as a--b pass, which exist.
var hostProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true),
	idna.ValidateLabels(true), idna.CheckHyphens(false), idna.BidiRule(), idna.VerifyDNSLength(true))

var (
	// token is RFC 7230's, without the backtick, which would end a string of a rule.
	tokenPattern = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_|~-]+$")
	// cookieValue is RFC 6265's cookie-octets, without the backtick.
	cookieValue = regexp.MustCompile(`^[!#-+\--:<-\[\]-_a-~]+$`)
)

// hostName returns a host as requests spell it: lower case, in ASCII, without the root's dot.
func hostName(host string) (string, error) {
	host = strings.TrimSuffix(strings.TrimSpace(host), ".")
	switch {
	case host == "":
		return "", fmt.Errorf("is empty")
	case strings.Contains(host, "://"):
		return "", fmt.Errorf("%q is a URL; write the name alone", host)
	case strings.Contains(host, "*"):
		return "", fmt.Errorf("%q holds a wildcard; write each name, or a rule in a label", host)
	}
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return address.Unmap().String(), nil
	}
	if strings.ContainsAny(host, ":/") {
		return "", fmt.Errorf("%q holds a port or a path; write the name alone", host)
	}
	name, err := hostProfile.ToASCII(host)
	if err != nil {
		return "", fmt.Errorf("%q is not a DNS name", host)
	}
	return name, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// checkRoute finds what is wrong with a route and returns it as requests spell it.
func checkRoute(s Settings, route fleet.Route, m *mistakes) fleet.Route {
	hosts := make([]string, 0, len(route.Hosts))
	seen := map[string]bool{}
	for i, host := range route.Hosts {
		field := fmt.Sprintf("route.hosts[%d]", i)
		name, err := hostName(host)
		switch {
		case err != nil:
			m.add(field, "%s", err)
		case route.TLS && isAddress(name):
			m.add(field, "%q is an address; a certificate needs a name", host)
		case s.ProbeHost != "" && strings.EqualFold(name, s.ProbeHost):
			m.add(field, "%q is taken", host)
		case !seen[name]:
			seen[name] = true
			hosts = append(hosts, name)
		}
	}
	route.Hosts = hosts
	wholeSite := route.PathPrefix == "/" && len(route.Hosts) == 0 && route.Cookie == nil
	route.PathPrefix = checkPath(route.PathPrefix, m)
	checkCookie(route.Cookie, m)
	if route.PathPrefix == "" {
		route.StripPrefix = false
	}
	if wholeSite {
		route.PathPrefix = "/"
	}
	switch {
	case route.TLS && s.WebSecure == "":
		m.add("route.tls", "the edges have no entry point for TLS")
	case route.TLS && len(route.Hosts) == 0 && m.none():
		m.add("route.tls", "needs hosts to get a certificate for")
	}
	switch route.Protocol {
	case "", "http", "https", "h2c":
	default:
		m.add("route.protocol", "%q is not http, https or h2c", route.Protocol)
	}
	return route
}

// checkPath returns the prefix in the form that rules need: no slash at its end,
// and empty when it is the whole site.
func checkPath(prefix string, m *mistakes) string {
	const field = "route.path_prefix"
	if prefix == "" || prefix == "/" {
		return ""
	}
	clean := strings.TrimSuffix(prefix, "/")
	switch {
	case !strings.HasPrefix(prefix, "/"):
		m.add(field, "%q does not start with a slash", prefix)
	case strings.Contains(prefix, "`"):
		m.add(field, "%q holds a backtick", prefix)
	case strings.Contains(prefix, "%"):
		m.add(field, "%q is percent-encoded; write the path as it reads", prefix)
	case strings.ContainsAny(prefix, "?#"):
		m.add(field, "%q holds a query or a fragment; write the path alone", prefix)
	case strings.ContainsFunc(prefix, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0xfffd }):
		m.add(field, "%q holds a control character", prefix)
	case path.Clean(clean) != clean:
		m.add(field, "%q is not in its shortest form, %s", prefix, path.Clean(prefix))
	case len(prefix) > 1024:
		m.add(field, "is longer than 1024 bytes")
	default:
		return clean
	}
	return ""
}

func checkCookie(cookie *fleet.Cookie, m *mistakes) {
	if cookie == nil {
		return
	}
	switch {
	case !tokenPattern.MatchString(cookie.Name):
		m.add("route.cookie.name", "%q is not a cookie's name: letters, digits and !#$%%&'*+-.^_|~", cookie.Name)
	case len(cookie.Name) > 256:
		m.add("route.cookie.name", "is longer than 256 bytes")
	}
	switch {
	case !cookieValue.MatchString(cookie.Value):
		m.add("route.cookie.value", "%q is not a cookie's value: no spaces, quotes, commas, semicolons, backslashes or backticks, and not empty", cookie.Value)
	case len(cookie.Value) > 1024:
		m.add("route.cookie.value", "is longer than 1024 bytes")
	}
}

// routeRule returns the rule of a checked route; empty when it takes nothing.
func routeRule(route fleet.Route) string {
	var parts []string
	if len(route.Hosts) > 0 {
		hosts := make([]string, len(route.Hosts))
		for i, host := range route.Hosts {
			hosts[i] = spell("Host", host)
		}
		text := strings.Join(hosts, " || ")
		if len(hosts) > 1 {
			text = "(" + text + ")"
		}
		parts = append(parts, text)
	}
	switch route.PathPrefix {
	case "":
	case "/": // every request that nothing else takes
		parts = append(parts, spell("PathPrefix", "/"))
	default:
		parts = append(parts, pathMatcher(route.PathPrefix))
	}
	if route.Cookie != nil {
		parts = append(parts, cookieMatcher(route.Cookie.Name, route.Cookie.Value, syntaxV3))
	}
	return strings.Join(parts, " && ")
}
