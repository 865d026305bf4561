package daemon

import (
	"net/http"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
	"edgespawner/proxyhook/feed"
)

// router is the feed, and the labels that an edge of somebody's own reads.
type router struct {
	*feed.Feed
	settings proxyhook.Settings
}

func (r *router) Labels(spec fleet.Spec, port int) map[string]string {
	return proxyhook.ContainerLabels(r.settings, spec, port)
}

// match asks the newest rules which service a request belongs to.
func (s *spawner) match(r *http.Request) (service string, guarded, ok bool) {
	matcher := s.feed.Matcher()
	if matcher == nil {
		return "", false, false
	}
	return matcher.Match(r)
}
