// Lint is the one binary of all linters of this repository, in the shape that
// go vet runs (-vettool), so that each package is analysed once and cached.
// Each analyzer stands here with the reason why it is wanted.
package main

import (
	"strings"

	"github.com/gordonklaus/ineffassign/pkg/ineffassign"
	"github.com/kisielk/errcheck/errcheck"
	"github.com/timakin/bodyclose/passes/bodyclose"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/passes/reflectvaluecompare"
	"golang.org/x/tools/go/analysis/passes/sortslice"
	"golang.org/x/tools/go/analysis/passes/unusedwrite"
	"golang.org/x/tools/go/analysis/unitchecker"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"
)

// ours are the analyzers that stand alone.
var ours = []*analysis.Analyzer{
	// An error that nobody reads hides the failure that it tells of.
	but(errcheck.Analyzer, inTests, atClose),
	// An unclosed response body leaks a connection to an edge or an engine.
	but(bodyclose.Analyzer, inTests),
	ineffassign.Analyzer,         // an assignment that nothing reads is a mistake or dead code
	nilness.Analyzer,             // a dereference that is certain to panic
	unusedwrite.Analyzer,         // a write to a copy that is thrown away: the change is lost
	sortslice.Analyzer,           // sort.Slice of something that is no slice panics at run time
	reflectvaluecompare.Analyzer, // == of reflect.Values never says what was meant
}

// style are the few checks of package stylecheck that are wanted; the others
// are about taste and the documentation of every exported name.
var style = map[string]bool{
	"ST1000": true, // every package says what it is for
	"ST1005": true, // error strings are joined with others, so no capitals and no full stop
	"ST1008": true, // an error is the last result, where callers look for it
	"ST1012": true, // sentinel errors are named errX or ErrX
	"ST1016": true, // one receiver name a type
	"ST1019": true, // one package imported twice
}

// unchecked are calls whose error tells nothing that the caller could act on:
// a client or a terminal that has gone, and what is thrown away after its use.
var unchecked = []string{
	"(*database/sql.Tx).Rollback", "(*encoding/json.Encoder).Encode", "(*net/http.ResponseController).Flush",
	"(net.Conn).SetDeadline", "(net/http.ResponseWriter).Write", "fmt.Fprint", "fmt.Fprintf", "fmt.Fprintln",
	"io.WriteString", "os.Remove", "os.RemoveAll",
}

func main() {
	errcheck.DefaultExcludedSymbols = append(errcheck.DefaultExcludedSymbols, unchecked...)
	analyzers := ours
	for _, a := range staticcheck.Analyzers { // bugs: wrong use of the standard library, impossible conditions
		analyzers = append(analyzers, but(a.Analyzer, olderRules))
	}
	for _, a := range simple.Analyzers { // code that says in five lines what one says
		analyzers = append(analyzers, a.Analyzer)
	}
	for _, a := range stylecheck.Analyzers {
		if style[strings.ToUpper(a.Analyzer.Name)] {
			analyzers = append(analyzers, a.Analyzer)
		}
	}
	unitchecker.Main(analyzers...)
}
