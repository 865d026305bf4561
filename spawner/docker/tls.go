package docker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"edgespawner/fleet"
)

// TLS names the PEM files for an engine that asks for a certificate.
type TLS struct {
	CA         string // empty = the system's
	Cert, Key  string // empty = the client shows none
	SkipVerify bool   // the engine's certificate is not checked
}

// TLSFromEnvironment returns what DOCKER_TLS_VERIFY and DOCKER_CERT_PATH ask
// for, as the docker command reads them; false when they ask for nothing.
func TLSFromEnvironment(getenv func(string) string) (TLS, bool) {
	dir := getenv("DOCKER_CERT_PATH")
	if dir == "" {
		return TLS{}, false
	}
	return TLS{
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"),
		SkipVerify: getenv("DOCKER_TLS_VERIFY") == "",
	}, true
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	var material fleet.NodeTLS
	for _, part := range []struct {
		path string
		take func(text string)
	}{
		{t.CA, func(text string) { material.CA = text }},
		{t.Cert, func(text string) { material.Cert = text }},
		{t.Key, func(text string) { material.Key = fleet.Secret(text) }},
	} {
		if part.path == "" {
			continue
		}
		content, err := os.ReadFile(part.path)
		if err != nil {
			return nil, fleet.InvalidField("endpoint", "cannot be reached by TLS: %v", err)
		}
		part.take(string(content))
	}
	config, err := certificates(material)
	if err == nil {
		config.InsecureSkipVerify = t.SkipVerify
	}
	return config, err
}

// certificates reads PEM text. Errors name the field of a node's spec.
func certificates(material fleet.NodeTLS) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if material.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(material.CA)) {
			return nil, fleet.InvalidField("tls.ca", "holds no certificate in PEM form")
		}
	}
	if material.Cert != "" || material.Key != "" {
		pair, err := tls.X509KeyPair([]byte(material.Cert), []byte(material.Key.Reveal()))
		if err != nil {
			return nil, fleet.InvalidField("tls.cert", "cannot be used with its key: %s", strings.TrimPrefix(err.Error(), "tls: "))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// explainTLS says which certificate two machines do not agree on: an *Error
// that names the field of a node's spec, or nil when err is about something else.
func explainTLS(endpoint string, err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		return fail(err, fleet.Invalid, "tls.ca", "the certificate of the engine at %s is signed by another CA", endpoint)
	case errors.As(err, &name):
		return fail(err, fleet.Invalid, "endpoint", "the certificate of the engine at %s is for another name or address: %s", endpoint, strings.TrimPrefix(name.Error(), "x509: "))
	case errors.As(err, &invalid):
		return fail(err, fleet.Invalid, "tls.ca", "the certificate of the engine at %s does not hold: %s", endpoint, strings.TrimPrefix(invalid.Error(), "x509: "))
	case strings.Contains(text, "remote error: tls: certificate required"):
		return fail(err, fleet.Invalid, "tls.cert", "the engine at %s asks for a certificate that its CA has signed: none was given, or another CA has signed it", endpoint)
	case strings.Contains(text, "remote error: tls:"):
		return fail(err, fleet.Invalid, "tls.cert", "the engine at %s does not take the certificate that was shown: %s", endpoint, text[strings.Index(text, "remote error: tls:")+len("remote error: tls: "):])
	case strings.Contains(text, "HTTP request to an HTTPS server"), strings.Contains(text, "malformed HTTP response"):
		return fail(err, fleet.Invalid, "tls", "the engine at %s speaks TLS: its CA, and a certificate for the spawner, are needed", endpoint)
	case strings.Contains(text, "HTTP response to HTTPS client"), strings.Contains(text, "first record does not look like a TLS handshake"):
		return fail(err, fleet.Invalid, "tls", "the engine at %s does not speak TLS", endpoint)
	}
	return nil
}
