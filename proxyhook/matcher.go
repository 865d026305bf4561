package proxyhook

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/traefik/traefik/v3/pkg/middlewares/requestdecorator"
	httpmuxer "github.com/traefik/traefik/v3/pkg/muxer/http"

	"edgespawner/fleet"
)

// Matcher says which service a request belongs to, as an edge that has the same
// snapshot would. It is safe for concurrent use.
type Matcher struct{ plain, secure http.Handler }

// NewMatcher makes the matcher of a snapshot. Services that Render would leave
// out are not matched.
func NewMatcher(s Settings, snapshot *fleet.Snapshot) (*Matcher, error) {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	plans, _ := kept.plansLocked(s, snapshot)
	plain, secure, err := kept.muxersLocked(plans)
	if err != nil {
		return nil, err
	}
	return &Matcher{plain: plain, secure: secure}, nil
}

// Match returns the service whose router would take the request. Guarded means
// that the router has middlewares (or a rule) that only an edge can apply, so
// that nobody else may let the request through to the app. A request that came
// by TLS, by its own word or by X-Forwarded-Proto, is matched with the routers
// for TLS only, one that came without with the others, one that does not say
// with all.
func (m *Matcher) Match(r *http.Request) (service string, guarded, ok bool) {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	proto = strings.ToLower(strings.TrimSpace(proto))
	found := &matched{}
	if r.TLS != nil || proto == "https" || proto == "wss" {
		m.secure.ServeHTTP(found, r)
	} else {
		m.plain.ServeHTTP(found, r)
		if found.target == nil && proto == "" {
			m.secure.ServeHTTP(found, r)
		}
	}
	if found.target == nil {
		return "", false, false
	}
	return found.target.service, found.target.guarded, true
}

// target is the handler of a route of the muxer: it only says that it was found.
type target struct {
	service string
	guarded bool
}

func (t *target) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if found, ok := w.(*matched); ok {
		found.target = t
	}
}

// matched is the writer that a target leaves itself in.
type matched struct {
	target *target
	header http.Header
}

func (m *matched) Header() http.Header {
	if m.header == nil {
		m.header = http.Header{}
	}
	return m.header
}
func (m *matched) Write(data []byte) (int, error) { return len(data), nil }
func (m *matched) WriteHeader(int)                {}

// newMuxer makes Traefik's own muxer of those routers that serves accepts.
func newMuxer(plans []*plan, serves func(router) bool) (http.Handler, error) {
	parser, err := syntaxParser()
	if err != nil {
		return nil, fmt.Errorf("cannot make Traefik's parser: %w", err)
	}
	type entry struct {
		router router
		target *target
	}
	var entries []entry
	for _, p := range plans {
		if p == nil {
			continue
		}
		for _, r := range p.routers {
			if serves(r) {
				entries = append(entries, entry{r, &target{service: p.service, guarded: r.guarded()}})
			}
		}
	}
	// The muxer sorts after each addition, which is cheap when it is sorted already.
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(b.router.priority, a.router.priority) })
	muxer := httpmuxer.NewMuxer(parser, nil)
	muxer.SetDefaultHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, e := range entries {
		if err := muxer.AddRoute(e.router.rule.text, e.router.rule.syntax, e.router.priority, "", e.target); err != nil {
			return nil, fmt.Errorf("cannot match by the rule of %s: %w", e.target.service, err)
		}
	}
	handler, err := requestdecorator.WrapHandler(requestdecorator.New(nil))(muxer)
	if err != nil {
		return nil, fmt.Errorf("cannot make the matcher: %w", err)
	}
	return handler, nil
}
