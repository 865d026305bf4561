package proxyhook

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	httpmuxer "github.com/traefik/traefik/v3/pkg/muxer/http"
	"github.com/traefik/traefik/v3/pkg/rules"
	"github.com/vulcand/predicate"
)

const (
	syntaxV2 = "v2"
	syntaxV3 = "" // the edges' own

	maxRuleLength   = 8 << 10
	maxConjunctions = 256
)

// rule is a router's rule that Traefik accepts.
type rule struct {
	text   string
	syntax string // syntaxV3 or syntaxV2
	tree   *rules.Tree
}

// syntaxParser is Traefik's own; making it costs a millisecond.
var syntaxParser = sync.OnceValues(func() (httpmuxer.SyntaxParser, error) { return httpmuxer.NewSyntaxParser() })

var matcherNames = map[string][]string{
	syntaxV3: {"ClientIP", "Method", "Host", "HostRegexp", "Path", "PathRegexp", "PathPrefix", "Header", "HeaderRegexp", "Query", "QueryRegexp"},
	syntaxV2: {"Host", "HostHeader", "HostRegexp", "ClientIP", "Path", "PathPrefix", "Method", "Headers", "HeadersRegexp", "Query"},
}

// treeParsers make trees of rules, by syntax.
var treeParsers = sync.OnceValue(func() map[string]predicate.Parser {
	parsers := map[string]predicate.Parser{}
	for syntax, names := range matcherNames {
		parser, err := rules.NewParser(names)
		if err == nil {
			parsers[syntax] = parser
		}
	}
	return parsers
})

// parseRule reads a rule as an edge would.
func parseRule(text, syntax string) (parsed rule, err error) {
	defer func() { // a parser of strangers' text must not take the process along
		if r := recover(); r != nil {
			parsed, err = rule{}, fmt.Errorf("cannot parse rule: %v", r)
		}
	}()
	if len(text) > maxRuleLength {
		return rule{}, fmt.Errorf("a rule of %d bytes is too long, at most %d are allowed", len(text), maxRuleLength)
	}
	parser, err := syntaxParser()
	if err != nil {
		return rule{}, fmt.Errorf("cannot make Traefik's parser: %w", err)
	}
	if err := httpmuxer.NewMuxer(parser, nil).AddRoute(text, syntax, 1, "", http.NotFoundHandler()); err != nil {
		return rule{}, innermost(err)
	}
	result, err := treeParsers()[syntax].Parse(text)
	if err != nil {
		return rule{}, fmt.Errorf("cannot parse rule: %w", err)
	}
	build, ok := result.(rules.TreeBuilder)
	if !ok {
		return rule{}, errors.New("cannot parse rule: it is no condition")
	}
	return rule{text: text, syntax: syntax, tree: build()}, nil
}

// innermost drops Traefik's wrapping, which says the rule again at each layer.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// leaves calls visit for each matcher of the rule.
func leaves(tree *rules.Tree, visit func(leaf *rules.Tree)) {
	if tree == nil {
		return
	}
	if tree.Matcher == "and" || tree.Matcher == "or" {
		leaves(tree.RuleLeft, visit)
		leaves(tree.RuleRight, visit)
		return
	}
	visit(tree)
}

// uses says whether the rule asks a matcher of that name.
func (r rule) uses(matcher string) bool {
	found := false
	leaves(r.tree, func(leaf *rules.Tree) { found = found || leaf.Matcher == matcher })
	return found
}

// conjunctions returns the rule as alternatives, each the sorted matchers that
// must all hold: two rules that share one take the same requests. Ok is false
// when there would be too many.
func (r rule) conjunctions() (alternatives []string, ok bool) {
	sets, ok := expand(r.tree)
	if !ok {
		return nil, false
	}
	for _, set := range sets {
		set = slices.Clone(set)
		slices.Sort(set)
		alternatives = append(alternatives, strings.Join(slices.Compact(set), " && "))
	}
	slices.Sort(alternatives)
	return slices.Compact(alternatives), true
}

func expand(tree *rules.Tree) ([][]string, bool) {
	switch tree.Matcher {
	case "or", "and":
		left, ok := expand(tree.RuleLeft)
		if !ok {
			return nil, false
		}
		right, ok := expand(tree.RuleRight)
		if !ok {
			return nil, false
		}
		if tree.Matcher == "or" {
			return append(left, right...), len(left)+len(right) <= maxConjunctions
		}
		if len(left)*len(right) > maxConjunctions {
			return nil, false
		}
		var both [][]string
		for _, l := range left {
			for _, r := range right {
				both = append(both, slices.Concat(l, r))
			}
		}
		return both, true
	default:
		return expandLeaf(tree), true
	}
}

// expandLeaf spells a matcher the same in both syntaxes; several values of one
// matcher of v2 are alternatives.
func expandLeaf(leaf *rules.Tree) [][]string {
	name := leaf.Matcher
	switch name {
	case "HostHeader":
		name = "Host"
	case "Headers", "HeadersRegexp":
		name = strings.Replace(name, "Headers", "Header", 1)
	}
	if leaf.Not {
		name = "!" + name
	}
	values := slices.Clone(leaf.Value)
	if strings.HasSuffix(name, "Host") || strings.HasSuffix(name, "Method") {
		for i := range values {
			values[i] = strings.TrimSuffix(strings.ToLower(values[i]), ".")
		}
	}
	if strings.HasPrefix(strings.TrimPrefix(name, "!"), "Header") && len(values) > 0 {
		values[0] = http.CanonicalHeaderKey(values[0])
	}
	several := name == "Host" || name == "Path" || name == "PathPrefix" || name == "Method" || name == "ClientIP"
	if !several {
		return [][]string{{spell(name, values...)}}
	}
	var alternatives [][]string
	for _, value := range values {
		alternatives = append(alternatives, []string{spell(name, value)})
	}
	return alternatives
}

func spell(matcher string, values ...string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = quote(value)
	}
	return matcher + "(" + strings.Join(quoted, ", ") + ")"
}

// quote writes a string of a rule: between backticks, as people do, unless it holds one.
func quote(value string) string {
	if strconv.CanBackquote(value) {
		return "`" + value + "`"
	}
	return strconv.Quote(value)
}
