package direct

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"edgespawner/fleet"
)

// anybody is who calls when no credential is asked for.
const anybody = "direct"

// maxLogin bounds the body of a login.
const maxLogin = 16 << 10

// authorize returns the caller.
func (a *API) authorize(r *http.Request, scope fleet.Scope) (string, error) {
	if a.config.Open {
		if !loopbackHost(r.Host) {
			return "", fleet.Errorf(fleet.Forbidden, "without credentials this API answers only to localhost, not to %q", r.Host)
		}
		return anybody, nil
	}
	return a.config.Authority.Authorize(r, scope)
}

func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// login trades an account for a token.
func (a *API) login(w http.ResponseWriter, r *http.Request) error {
	var account struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin)).Decode(&account); err != nil {
		return fleet.Errorf(fleet.Unauthorized, "a username and a password are wanted, as JSON")
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	token, err := a.config.Logins.Login(r.Context(), account.Username, account.Password, address)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"token": token})
	return nil
}
