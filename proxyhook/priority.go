package proxyhook

import (
	"hash/fnv"
	"strings"

	"github.com/traefik/traefik/v3/pkg/rules"
)

// The scale of priorities, which an edge sorts all routers by:
//
//	1                      the catch-all
//	1,000 to 11,000        rules that name no host, longest first
//	1,000 × length         rules that name a host
//	1,000 × p              a router whose labels say priority p
//	1,000,000,000          the probe routers
//
// A bare length, Traefik's own measure, lets a cookie rule without a host beat
// Host(...), and a list of many hosts beat a path below one of them. So the
// length counted here is that of the shortest alternative, a matcher of a cookie
// or another header counts more than its letters, and what names no host stays
// below what does. All are even; a bypass router takes the odd number above. The
// last three digits are taken from the names, so that of two rules of one length
// always the same one wins.
const (
	priorityScale    = 1000
	catchAllPriority = 1
	probePriority    = 1_000_000 * priorityScale
	maxUserPriority  = 999_999

	headerBonus     = 100 // as if so many letters longer
	hostlessUnits   = 20
	maxHostlessSize = 450
)

// priorityOf returns the priority of a router whose labels set none.
func priorityOf(service, router string, r rule) int {
	size := max(length(r.tree), 1)
	if namesHost(r.tree) {
		return size*priorityScale + tieBreak(service, router, priorityScale)
	}
	return priorityScale + min(size, maxHostlessSize)*hostlessUnits + tieBreak(service, router, hostlessUnits)
}

// userPriority returns the priority of a router whose labels set one.
func userPriority(service, router string, priority int) int {
	return priority*priorityScale + tieBreak(service, router, priorityScale)
}

// tieBreak returns an even number below limit, always the same for one router.
func tieBreak(service, router string, limit int) int {
	sum := fnv.New32a()
	sum.Write([]byte(service + "/" + router))
	return int(sum.Sum32()%uint32(limit/2)) * 2
}

// length is that of the rule's shortest alternative.
func length(tree *rules.Tree) int {
	switch tree.Matcher {
	case "and":
		return length(tree.RuleLeft) + length(tree.RuleRight)
	case "or":
		return min(length(tree.RuleLeft), length(tree.RuleRight))
	}
	size := len(tree.Matcher) + len("()")
	shortest := -1
	for _, value := range tree.Value {
		if shortest < 0 || len(value) < shortest {
			shortest = len(value)
		}
	}
	if strings.HasPrefix(tree.Matcher, "Header") || strings.HasPrefix(tree.Matcher, "Query") {
		return size + len(strings.Join(tree.Value, "")) + headerBonus
	}
	return size + max(shortest, 0)
}

// namesHost says whether every request that the rule takes has a host that it names.
func namesHost(tree *rules.Tree) bool {
	switch tree.Matcher {
	case "and":
		return namesHost(tree.RuleLeft) || namesHost(tree.RuleRight)
	case "or":
		return namesHost(tree.RuleLeft) && namesHost(tree.RuleRight)
	case "Host", "HostHeader", "HostRegexp":
		return !tree.Not && (len(tree.Value) != 1 || tree.Value[0] != "*" && tree.Value[0] != ".*" && tree.Value[0] != ".+")
	}
	return false
}
