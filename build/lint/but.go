package main

import (
	"go/ast"
	"go/token"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// exception says whether a finding is not wanted.
type exception func(*analysis.Pass, analysis.Diagnostic) bool

// but is the analyzer without the findings that an exception holds for.
func but(a *analysis.Analyzer, exceptions ...exception) *analysis.Analyzer {
	without, run := *a, a.Run
	without.Run = func(pass *analysis.Pass) (any, error) {
		filtered := *pass
		filtered.Report = func(d analysis.Diagnostic) {
			for _, excepted := range exceptions {
				if excepted(pass, d) {
					return
				}
			}
			pass.Report(d)
		}
		return run(&filtered)
	}
	return &without
}

// inTests: what a test leaves unread shows in what it asserts.
func inTests(pass *analysis.Pass, d analysis.Diagnostic) bool {
	return strings.HasSuffix(pass.Fset.File(d.Pos).Name(), "_test.go")
}

// atClose: closing what has been read, or what has failed already, has no news.
func atClose(pass *analysis.Pass, d analysis.Diagnostic) bool {
	closing := false
	for _, file := range pass.Files {
		if d.Pos < file.FileStart || file.FileEnd < d.Pos {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok && callAt(call, d.Pos) {
				selector, ok := call.Fun.(*ast.SelectorExpr)
				closing = closing || ok && strings.HasPrefix(selector.Sel.Name, "Close")
			}
			return !closing
		})
	}
	return closing
}

// callAt says whether a finding at pos is about this call.
func callAt(call *ast.CallExpr, pos token.Pos) bool { return pos == call.Lparen || pos == call.Pos() }

// olderRules: that Traefik calls its second version's words deprecated does not
// take them out of the contract with the older tool's users.
func olderRules(_ *analysis.Pass, d analysis.Diagnostic) bool {
	return strings.Contains(d.Message, "traefik/v3/pkg/config/dynamic") && strings.Contains(d.Message, "deprecated")
}
