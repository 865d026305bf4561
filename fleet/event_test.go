package fleet

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

func TestEveryTypeOfEventIsListed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || spec.Type == nil || spec.Type.(*ast.Ident).Name != "EventType" {
			return true
		}
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if one := EventType(word); one != EventGap {
			found++
			if !slices.Contains(EventTypes(), one) {
				t.Errorf("EventTypes does not list %q", one)
			}
		}
		return true
	})
	if found != len(EventTypes()) {
		t.Errorf("found %d types, and EventTypes lists %d", found, len(EventTypes()))
	}
}
