package probes

import (
	"net/url"
	"strconv"
	"strings"

	"edgespawner/fleet"
)

// localhost in an endpoint means the replica itself.
const localhost = "localhost"

// ValidateEndpoint says whether a check of this service may use endpoint: an
// http or https URL whose host is localhost, the service's own name or one of
// its replicas'. The error is a *fleet.Error with field health_check.endpoint.
func ValidateEndpoint(service, endpoint string) error {
	_, err := parseEndpoint(service, endpoint)
	return err
}

// parseEndpoint parses and validates an endpoint.
func parseEndpoint(service, endpoint string) (*url.URL, error) {
	const field = "health_check.endpoint"
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, fleet.InvalidField(field, "must be a URL such as http://localhost:8080/health")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fleet.InvalidField(field, "must begin with http:// or https://, not %q", u.Scheme+"://")
	}
	if u.User != nil {
		return nil, fleet.InvalidField(field, "must not hold a user or password; use health_check.headers")
	}
	if port := u.Port(); port != "" {
		if number, err := strconv.Atoi(port); err != nil || number < 1 || number > 65535 {
			return nil, fleet.InvalidField(field, "has the port %q; a port is 1 to 65535", port)
		}
	}
	if !ownHost(service, u.Hostname()) {
		return nil, fleet.InvalidField(field, "has the host %q; it must be localhost (the replica itself) or %q", u.Hostname(), service)
	}
	return u, nil
}

// ownHost says whether host names the replica itself, its service or a replica of it.
func ownHost(service, host string) bool {
	host = strings.ToLower(host)
	if host == localhost {
		return true
	}
	if service == "" {
		return false
	}
	rest, ok := strings.CutPrefix(host, strings.ToLower(service))
	if !ok || rest == "" {
		return ok
	}
	digits, ok := strings.CutPrefix(rest, "-")
	if !ok || len(digits) == 0 || len(digits) > 4 {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}

// endpointPort returns the port of an endpoint: as written, else its scheme's.
func endpointPort(u *url.URL) int {
	if number, err := strconv.Atoi(u.Port()); err == nil {
		return number
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}
