package proxyhook

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// looseCookie is a pattern for the Cookie header that means one cookie and takes
// longer ones too, as the older direct-routing API's labels hold it:
// .*instance=minion-1.* takes minion-10.
var looseCookie = regexp.MustCompile(`^\^?(?:\.\*)?([A-Za-z0-9_-]+)=((?:[A-Za-z0-9_-]|\\?\.)+?)(?:\.\*)?\$?$`)

// change is a piece of a rule that is written anew.
type change struct {
	from, to int // bytes of the rule
	text     string
	cookie   string // what it means; empty for a path
}

// exact rewrites what takes more than it says: loose cookies and, where paths is
// set, path prefixes that take longer names too. Nothing under a negation is
// touched, since there less would become more. The cookie matcher is spelt for
// the given syntax. Changes are empty when the rule stays as it is.
func exact(text, syntax string, paths bool) (rewritten string, warnings []string) {
	expression, err := parser.ParseExpr(text)
	if err != nil {
		return text, nil
	}
	var changes []change
	positive(expression, func(call *ast.CallExpr, matcher string, values []string) {
		begin, end := int(call.Pos())-1, int(call.End())-1
		switch {
		case isHeaderRegexp(matcher) && len(values) == 2 && strings.EqualFold(values[0], "Cookie"):
			match := looseCookie.FindStringSubmatch(values[1])
			if match == nil {
				return
			}
			name, value := match[1], strings.ReplaceAll(match[2], `\.`, ".")
			changes = append(changes, change{begin, end, cookieMatcher(name, value, syntax), name + "=" + value})
		case paths && strings.EqualFold(matcher, "PathPrefix") && len(values) == 1 && loosePrefix(values[0]):
			changes = append(changes, change{begin, end, pathMatcher(values[0]), ""})
		}
	})
	slices.SortFunc(changes, func(a, b change) int { return b.from - a.from })
	for _, c := range changes {
		old := text[c.from:c.to]
		text = text[:c.from] + c.text + text[c.to:]
		what := "this path and what is below it"
		if c.cookie != "" {
			what = "exactly the cookie " + c.cookie
		}
		warnings = append(warnings, fmt.Sprintf("%s takes longer names too; it was rewritten to take %s", old, what))
	}
	return text, warnings
}

func isHeaderRegexp(matcher string) bool {
	return strings.EqualFold(matcher, "HeaderRegexp") || strings.EqualFold(matcher, "HeadersRegexp")
}

func loosePrefix(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && !strings.ContainsAny(path, "{}`\n")
}

// positive calls visit for each call of a matcher that no negation stands above.
func positive(expression ast.Expr, visit func(call *ast.CallExpr, matcher string, values []string)) {
	switch e := expression.(type) {
	case *ast.ParenExpr:
		positive(e.X, visit)
	case *ast.BinaryExpr:
		if e.Op == token.LAND || e.Op == token.LOR {
			positive(e.X, visit)
			positive(e.Y, visit)
		}
	case *ast.CallExpr:
		name, ok := e.Fun.(*ast.Ident)
		if !ok {
			return
		}
		var values []string
		for _, argument := range e.Args {
			literal, ok := argument.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				return
			}
			values = append(values, value)
		}
		visit(e, name.Name, values)
	}
}

// cookieMatcher takes a request that has exactly this cookie.
func cookieMatcher(name, value, syntax string) string {
	matcher := "HeaderRegexp"
	if syntax == syntaxV2 {
		matcher = "HeadersRegexp"
	}
	pattern := `(^|;\s*)` + regexp.QuoteMeta(name) + `="?` + regexp.QuoteMeta(value) + `"?\s*(;|$)`
	return spell(matcher, "Cookie", pattern)
}

// pathMatcher takes a path and what is below it; PathPrefix alone would take /x1 for /x.
func pathMatcher(path string) string {
	return "(" + spell("Path", path) + " || " + spell("PathPrefix", path+"/") + ")"
}
