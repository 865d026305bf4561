package proxyhook

import (
	"fmt"
	"maps"
	"mime"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/ip"
	"github.com/traefik/traefik/v3/pkg/types"
)

// middlewareCheck looks at one middleware of the user's labels: a middleware
// that an edge cannot build takes its router along, and nobody but the edge's
// log would say so.
type middlewareCheck struct {
	settings Settings
	set      labelSet
	name     string
	m        *mistakes
}

func (c middlewareCheck) refuse(setting, format string, args ...any) {
	c.m.add(c.set.field(middlewareLabels+c.name+"."+setting), format, args...)
}

func (c middlewareCheck) pattern(setting, pattern string) {
	if _, err := regexp.Compile(pattern); err != nil {
		c.refuse(setting, "%q is not a regular expression: %s", pattern, err)
	}
}

func (c middlewareCheck) ranges(setting string, ranges []string) {
	if len(ranges) == 0 {
		c.refuse(setting, "names no addresses")
	} else if _, err := ip.NewChecker(ranges); err != nil {
		c.refuse(setting, "%s", err)
	}
}

func (c middlewareCheck) statuses(setting string, statuses []string) {
	if _, err := types.NewHTTPCodeRanges(statuses); err != nil {
		c.refuse(setting, "%q are not status codes: %s", strings.Join(statuses, ","), err)
	}
}

func (c middlewareCheck) required(setting string, present bool) {
	if !present {
		c.refuse(setting, "is missing")
	}
}

// kinds returns which of a middleware's kinds are set, as labels spell them.
func kinds(middleware *dynamic.Middleware) []string {
	var set []string
	value := reflect.ValueOf(*middleware)
	for field := range value.Type().Fields() {
		if !value.FieldByIndex(field.Index).IsNil() {
			set = append(set, strings.ToLower(field.Name))
		}
	}
	return set
}

func (c middlewareCheck) run(middleware *dynamic.Middleware) {
	set := kinds(middleware)
	if len(set) != 1 {
		c.m.add(c.set.field(strings.TrimSuffix(middlewareLabels+c.name, ".")), "the middleware %s must be of exactly one kind, it is of %d", c.name, len(set))
		return
	}
	c.checkAccess(middleware)
	c.checkPaths(middleware)
	c.checkLimits(middleware)
	c.checkAnswers(middleware)
}

func (c middlewareCheck) checkAccess(middleware *dynamic.Middleware) {
	if auth := middleware.BasicAuth; auth != nil {
		c.users("basicauth", auth.Users, auth.UsersFile, 2)
	}
	if auth := middleware.DigestAuth; auth != nil {
		c.users("digestauth", auth.Users, auth.UsersFile, 3)
	}
	if list := middleware.IPAllowList; list != nil {
		c.ranges("ipallowlist.sourcerange", list.SourceRange)
		c.strategy("ipallowlist", list.IPStrategy)
		if code := list.RejectStatusCode; code != 0 && (code < 100 || code > 599) {
			c.refuse("ipallowlist.rejectstatuscode", "%d is not a status code", code)
		}
	}
	if list := middleware.IPWhiteList; list != nil {
		c.ranges("ipwhitelist.sourcerange", list.SourceRange)
		c.strategy("ipwhitelist", list.IPStrategy)
	}
	if auth := middleware.ForwardAuth; auth != nil {
		address, err := url.Parse(auth.Address)
		switch {
		case !c.settings.AllowForwardAuth:
			c.refuse("forwardauth.address", "requests may be shown to no other server, unless the spawner is started with --allow-forward-auth")
		case err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https":
			c.refuse("forwardauth.address", "%q is not a URL", auth.Address)
		}
		c.pattern("forwardauth.authresponseheadersregex", auth.AuthResponseHeadersRegex)
	}
}

// users checks name:password or name:realm:password.
func (c middlewareCheck) users(kind string, users []string, file string, parts int) {
	if file != "" {
		c.refuse(kind+".usersfile", "files of the edge cannot be read; list the users in %s.users", kind)
		return
	}
	c.required(kind+".users", len(users) > 0)
	for _, user := range users {
		name, rest, _ := strings.Cut(user, ":")
		if name == "" || rest == "" || parts == 3 && !strings.Contains(rest, ":") {
			c.refuse(kind+".users", "an entry is not name:%s, with the password hashed", map[int]string{2: "password", 3: "realm:password"}[parts])
			return
		}
	}
}

func (c middlewareCheck) strategy(kind string, strategy *dynamic.IPStrategy) {
	if strategy == nil {
		return
	}
	if strategy.Depth < 0 {
		c.refuse(kind+".ipstrategy.depth", "%d is negative", strategy.Depth)
	}
	if _, err := strategy.Get(); err != nil {
		c.refuse(kind+".ipstrategy", "%s", err)
	}
}

func (c middlewareCheck) checkPaths(middleware *dynamic.Middleware) {
	if prefix := middleware.AddPrefix; prefix != nil {
		c.required("addprefix.prefix", prefix.Prefix != "")
	}
	if prefix := middleware.StripPrefixRegex; prefix != nil {
		for _, pattern := range prefix.Regex {
			c.pattern("stripprefixregex.regex", pattern)
		}
	}
	if replace := middleware.ReplacePathRegex; replace != nil {
		c.pattern("replacepathregex.regex", replace.Regex)
	}
	if redirect := middleware.RedirectRegex; redirect != nil {
		c.pattern("redirectregex.regex", redirect.Regex)
	}
	if redirect := middleware.RedirectScheme; redirect != nil {
		c.required("redirectscheme.scheme", redirect.Scheme != "")
	}
}

func (c middlewareCheck) checkLimits(middleware *dynamic.Middleware) {
	if limit := middleware.RateLimit; limit != nil {
		if limit.Redis != nil {
			c.refuse("ratelimit.redis", "requests are counted in the edge; no other server may be named")
		}
		if limit.Average < 0 || limit.Burst < 0 || limit.Period < 0 {
			c.refuse("ratelimit", "a number is negative")
		}
		c.source("ratelimit", limit.SourceCriterion)
	}
	if limit := middleware.InFlightReq; limit != nil {
		c.source("inflightreq", limit.SourceCriterion)
	}
	if breaker := middleware.CircuitBreaker; breaker != nil {
		if err := checkBreaker(breaker.Expression); err != nil {
			c.refuse("circuitbreaker.expression", "%q: %s", breaker.Expression, err)
		}
	}
	if buffering := middleware.Buffering; buffering != nil {
		if err := checkBuffering(buffering); err != nil {
			c.refuse("buffering", "%s", err)
		}
	}
	if retry := middleware.Retry; retry != nil {
		if retry.Attempts <= 0 {
			c.refuse("retry.attempts", "%d is not at least 1", retry.Attempts)
		}
		if len(retry.Status) == 0 && retry.DisableRetryOnNetworkError {
			c.refuse("retry.disableretryonnetworkerror", "leaves nothing to retry on; name a status too")
		}
		c.statuses("retry.status", retry.Status)
	}
}

func (c middlewareCheck) source(kind string, source *dynamic.SourceCriterion) {
	if source == nil {
		return
	}
	c.strategy(kind+".sourcecriterion", source.IPStrategy)
	count := 0
	for _, set := range []bool{source.IPStrategy != nil, source.RequestHeaderName != "", source.RequestHost} {
		if set {
			count++
		}
	}
	if count > 1 {
		c.refuse(kind+".sourcecriterion", "more than one criterion is named")
	}
}

func (c middlewareCheck) checkAnswers(middleware *dynamic.Middleware) {
	if headers := middleware.Headers; headers != nil {
		if !headers.HasCorsHeadersDefined() && !headers.HasCustomHeadersDefined() && !headers.HasSecureHeadersDefined() {
			c.refuse("headers", "changes nothing")
		}
		for _, name := range slices.Sorted(maps.Keys(headers.CustomRequestHeaders)) {
			if ownHeader(name) {
				c.refuse("headers.customrequestheaders."+name, "belongs to the spawner")
			}
		}
		for _, pattern := range headers.AccessControlAllowOriginListRegex {
			c.pattern("headers.accesscontrolalloworiginlistregex", pattern)
		}
	}
	if page := middleware.Errors; page != nil {
		c.required("errors.status", len(page.Status) > 0)
		c.required("errors.service", page.Service != "")
		c.statuses("errors.status", page.Status)
		c.statuses("errors.statusrewrites", slices.Sorted(maps.Keys(page.StatusRewrites)))
	}
	if compress := middleware.Compress; compress != nil {
		c.checkCompress(compress)
	}
}

func (c middlewareCheck) checkCompress(compress *dynamic.Compress) {
	if len(compress.IncludedContentTypes) > 0 && len(compress.ExcludedContentTypes) > 0 {
		c.refuse("compress.includedcontenttypes", "cannot stand beside excludedcontenttypes")
	}
	for setting, list := range map[string][]string{"includedcontenttypes": compress.IncludedContentTypes, "excludedcontenttypes": compress.ExcludedContentTypes} {
		for _, contentType := range list {
			if _, _, err := mime.ParseMediaType(contentType); err != nil {
				c.refuse("compress."+setting, "%q is not a content type", contentType)
			}
		}
	}
	if compress.MinResponseBodyBytes < 0 {
		c.refuse("compress.minresponsebodybytes", "%d is negative", compress.MinResponseBodyBytes)
	}
	for _, encoding := range append(slices.Clone(compress.Encodings), compress.DefaultEncoding) {
		if encoding != "" && encoding != "gzip" && encoding != "br" && encoding != "zstd" {
			c.refuse("compress.encodings", "%q is not gzip, br or zstd", encoding)
		}
	}
}

// ownHeader says whether a header is one that the edge and the spawner speak
// by, also in the spellings that some servers read as the same.
func ownHeader(name string) bool {
	return strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-spawner-")
}

// changesPath says whether a middleware changes the path that the app sees.
func changesPath(middleware *dynamic.Middleware) bool {
	return middleware.AddPrefix != nil || middleware.StripPrefix != nil || middleware.StripPrefixRegex != nil ||
		middleware.ReplacePath != nil || middleware.ReplacePathRegex != nil
}

// checkReferences finds middlewares that name others which are not there, or themselves.
func checkReferences(set labelSet, m *mistakes) {
	for _, name := range slices.Sorted(maps.Keys(set.http.Middlewares)) {
		middleware := set.http.Middlewares[name]
		if middleware.Chain == nil {
			continue
		}
		field := set.field(middlewareLabels + name + ".chain.middlewares")
		if len(middleware.Chain.Middlewares) == 0 {
			m.add(field, "names no middleware")
		}
		checkMiddlewareNames(set, field, middleware.Chain.Middlewares, m)
		if reaches(set.http.Middlewares, name, name, map[string]bool{}) {
			m.add(field, "leads back to itself")
		}
	}
}

func reaches(middlewares map[string]*dynamic.Middleware, from, to string, seen map[string]bool) bool {
	if seen[from] || middlewares[from] == nil || middlewares[from].Chain == nil {
		return false
	}
	seen[from] = true
	for _, next := range middlewares[from].Chain.Middlewares {
		if next == to || reaches(middlewares, next, to, seen) {
			return true
		}
	}
	return false
}

func checkMiddlewareNames(set labelSet, field string, names []string, m *mistakes) {
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, "@docker")
		switch {
		case strings.Contains(names[i], "@"):
			m.add(field, "%q belongs to another provider; only middlewares of these labels can be named", name)
		case set.http.Middlewares[names[i]] == nil:
			m.add(field, "%s", fmt.Sprintf("these labels define no middleware %q", name))
		}
	}
}
