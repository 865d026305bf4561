package daemon

import (
	"fmt"
	"net/url"
	"strings"
)

// metricsPrefix marks the URL of an edge's Prometheus page.
const metricsPrefix = "metrics+"

// edgesValue is the repeatable flag --edge.
type edgesValue []Edge

func (v *edgesValue) Type() string { return "edge" }

func (v *edgesValue) String() string {
	texts := make([]string, len(*v))
	for i, edge := range *v {
		texts[i] = edge.String()
	}
	return strings.Join(texts, " ")
}

// Set adds one edge.
func (v *edgesValue) Set(text string) error {
	edge, err := ParseEdge(text)
	if err != nil {
		return err
	}
	for _, known := range *v {
		if known.Name == edge.Name {
			return fmt.Errorf("the edge %q is given twice", edge.Name)
		}
	}
	*v = append(*v, edge)
	return nil
}

// split parts the edges of an environment variable: by blanks or semicolons,
// since commas part the URLs of one edge.
func (v *edgesValue) split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == ' ' || r == '\n' || r == '\t' })
}

// String writes the edge as --edge takes it.
func (e Edge) String() string {
	var urls []string
	for _, address := range []string{e.Web, e.WebSecure} {
		if address != "" {
			urls = append(urls, address)
		}
	}
	if e.Metrics != "" {
		urls = append(urls, metricsPrefix+e.Metrics)
	}
	return e.Name + "=" + strings.Join(urls, ",")
}

// ParseEdge reads NAME=URL[,URL…].
func ParseEdge(text string) (Edge, error) {
	name, urls, ok := strings.Cut(text, "=")
	if !ok || !isName(name) {
		return Edge{}, fmt.Errorf("an edge is written NAME=URL[,URL…], not %q", text)
	}
	edge := Edge{Name: name}
	for address := range strings.SplitSeq(urls, ",") {
		if err := edge.add(address); err != nil {
			return Edge{}, err
		}
	}
	return edge, nil
}

// add puts a URL of the edge where its scheme says.
func (e *Edge) add(text string) error {
	address, metrics := strings.CutPrefix(text, metricsPrefix)
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return fmt.Errorf("edge %s: %q is not a URL such as http://host:80, https://host:443 or %shttp://host:8082/metrics", e.Name, text, metricsPrefix)
	}
	place := &e.Web
	switch {
	case metrics:
		place = &e.Metrics
	case parsed.Scheme == "https":
		place = &e.WebSecure
	}
	if *place != "" {
		return fmt.Errorf("edge %s: %s and %s are for the same thing", e.Name, *place, address)
	}
	if !metrics {
		address = strings.TrimRight(address, "/")
	}
	*place = address
	return nil
}
