package docker

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestEachCallIsToldWithItsNodeItsVerbAndItsEnd(t *testing.T) {
	f := newFakeEngine(t)
	p := f.pool(t)
	var mu sync.Mutex
	var told []string
	p.Observe(func(c Call) {
		mu.Lock()
		defer mu.Unlock()
		end := "well"
		switch {
		case errors.Is(c.Err, context.Canceled):
			end = "canceled"
		case c.Err != nil:
			end = string(fleet.KindOf(c.Err))
		}
		if c.Took <= 0 {
			t.Errorf("%s took %s", c.Verb, c.Took)
		}
		told = append(told, c.Node+" "+c.Verb+" "+end)
	})
	f.on("POST /containers/0a/start", 204, nil)
	f.on("POST /containers/0a/pause", 409, "Container 0a is not running")
	f.handle("GET /containers/0a/json", never)
	if err := p.Containers().Start(t.Context(), "local", "0a"); err != nil {
		t.Error(err)
	}
	wantError(t, p.Freezer().Pause(t.Context(), "local", "0a"), fleet.Conflict, "", "not running")
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := p.Containers().Inspect(left, "local", "0a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Containers().Inspect(t.Context(), "of-no-node", "0a"); err == nil {
		t.Error("a node that is not known answers")
	}
	want := []string{"local start_container well", "local pause_container conflict", "local inspect_container canceled"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNoCallIsNamedAfterItsSubject reads the words that calls begin with: what
// becomes a name must stand in the source, not come from a user.
func TestNoCallIsNamedAfterItsSubject(t *testing.T) {
	well := regexp.MustCompile(`^[a-z]+ (a |the )?[a-z]+( |$)`)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			at := map[string]int{"ask": 2, "askWithin": 3, "observed": 1}
			if !ok || at[method.Sel.Name] == 0 || len(call.Args) <= at[method.Sel.Name] {
				return true
			}
			words := call.Args[at[method.Sel.Name]]
			if sum, ok := words.(*ast.BinaryExpr); ok {
				words = leftmost(sum)
			}
			literal, ok := words.(*ast.BasicLit)
			if !ok {
				if name, isName := words.(*ast.Ident); !isName || name.Name != "verb" {
					t.Errorf("%s: %s gets no words that begin with a literal", file.Name(), method.Sel.Name)
				}
				return true
			}
			names++
			if text, err := strconv.Unquote(literal.Value); err != nil || !well.MatchString(text) {
				t.Errorf("%s: the words %s do not begin with a verb and its object", file.Name(), literal.Value)
			}
			return true
		})
	}
	if names < 15 {
		t.Errorf("only %d calls were found", names)
	}
}

func leftmost(sum *ast.BinaryExpr) ast.Expr {
	for {
		left, ok := sum.X.(*ast.BinaryExpr)
		if !ok {
			return sum.X
		}
		sum = left
	}
}
