package activity

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"edgespawner/proxyhook"
)

// The counters of an edge that count requests by service.
const (
	endedMetric   = "traefik_service_requests_total"
	startedMetric = "traefik_service_requests_tls_total"
	feedProvider  = "http" // what Traefik calls the provider that polls our feed
)

// series names one sum of counts: a leaf's, of one of the two counters.
type series struct {
	metric  string
	leaf    string // Traefik's service, without its provider
	service string // ours that it belongs to
}

// readPage sums the counts of a page in the Prometheus text format over codes,
// methods and protocols.
func readPage(r io.Reader) (map[series]float64, error) {
	counts := map[series]float64{}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 0, 4096), 1<<20)
	for scanner.Scan() {
		line := scanner.Text()
		name, rest, found := strings.Cut(line, "{")
		if !found || (name != endedMetric && name != startedMetric) {
			continue
		}
		traefikName, value, err := readSample(rest)
		if err != nil {
			return nil, fmt.Errorf("cannot read the line of a metrics page %q: %w", line, err)
		}
		leaf, provider, _ := strings.Cut(traefikName, "@")
		if service, ok := proxyhook.LeafService(leaf); ok && provider == feedProvider {
			counts[series{name, leaf, service}] += value
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("cannot read a metrics page: %w", err)
	}
	return counts, nil
}

// readSample reads what follows the brace of a sample: labels, a brace, the
// value, and perhaps a time stamp.
func readSample(text string) (service string, value float64, err error) {
	for !strings.HasPrefix(text, "}") {
		label, rest, found := strings.Cut(text, "=")
		if !found {
			return "", 0, fmt.Errorf("a label has no value")
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return "", 0, fmt.Errorf("the value of label %s is not quoted", label)
		}
		if label == "service" {
			if service, err = strconv.Unquote(quoted); err != nil {
				return "", 0, fmt.Errorf("cannot unquote label %s: %w", label, err)
			}
		}
		text = strings.TrimPrefix(rest[len(quoted):], ",")
	}
	fields := strings.Fields(text[1:])
	if len(fields) == 0 {
		return "", 0, fmt.Errorf("there is no value")
	}
	value, err = strconv.ParseFloat(fields[0], 64)
	return service, value, err
}
