// Package edgespawner holds no code: only the rules that the whole repository
// keeps, as tests. They parse the sources themselves, because a test that asks
// "go list" in a child process is answered from Go's test cache.
package edgespawner

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "edgespawner"

// mayImport is the map of the house: which packages of ours a package may
// import. A name that ends in "/…" stands for the packages below it; the
// longest name that fits a package counts.
var mayImport = map[string][]string{
	"fleet":              {},
	"mock-app":           {},
	"mock-app/…":         {},
	"sandbox":            {},
	"scheduler":          {"fleet"},
	"probes":             {"fleet"},
	"proxyhook":          {"fleet"},
	"proxyhook/feed":     {"fleet", "proxyhook"},
	"proxyhook/activity": {"fleet", "proxyhook"},
	"spawner/sqlite":     {"fleet"},
	"spawner/docker":     {"fleet"},
	"spawner/client":     {"fleet"},
	"spawner/access":     {"fleet"},
	"spawner/fallback":   {"fleet"},
	"spawner/webhooks":   {"fleet"},
	"spawner/api":        {"fleet", "spawner/access"},
	"spawner/direct":     {"fleet", "spawner/access"},
	"spawner/dashboard":  {"fleet", "spawner/access"},
	"spawner/engine":     {"fleet", "scheduler", "probes"},
	"spawner/daemon": {"fleet", "scheduler", "probes", "proxyhook", "proxyhook/feed", "proxyhook/activity",
		"spawner/sqlite", "spawner/docker", "spawner/access", "spawner/fallback", "spawner/api", "spawner/direct",
		"spawner/dashboard", "spawner/engine", "spawner/webhooks"},
	"spawner/cli": {"fleet", "spawner/client", "spawner/daemon"},
	"spawner":     {"spawner/cli"},
	"bench":       {"fleet", "spawner/client", "test/stand", "test/lab"},
	"bench/…":     {"fleet", "spawner/client", "test/stand", "test/lab"},
	"test/…":      {"fleet", "spawner/client", "test/stand", "test/lab"},
	"test/lab":    {},
}

// drawers are the names of packages that say nothing about what is in them.
var drawers = []string{"util", "utils", "helpers", "helper", "common", "pkg", "misc", "base"}

// mostMethods is the size up to which an interface still names one role.
const mostMethods = 6

// source is one parsed file.
type source struct {
	name string // relative to the root, with slashes
	test bool
	file *ast.File
}

func TestPackagesImportOnlyWhatTheMapAllows(t *testing.T) {
	for dir, files := range packages(t) {
		allowed, known := allowedImports(dir)
		if !known {
			t.Errorf("%s is on no line of the map of imports", dir)
			continue
		}
		for _, f := range files {
			if f.test {
				continue
			}
			for _, imported := range ourImports(t, f) {
				if !slices.Contains(allowed, imported) {
					t.Errorf("%s imports %s; it may import %v", f.name, imported, allowed)
				}
			}
		}
	}
}

func TestEveryPackageSaysOnceWhatItIsFor(t *testing.T) {
	for dir, files := range packages(t) {
		var where []string
		for _, f := range files {
			if f.file.Doc != nil {
				where = append(where, f.name)
			}
		}
		if len(where) != 1 {
			t.Errorf("%s has %d package comments, want one: %v", dir, len(where), where)
		}
	}
}

func TestNoPackageIsADrawer(t *testing.T) {
	for dir := range packages(t) {
		if slices.Contains(drawers, path.Base(dir)) {
			t.Errorf("%s is named like a drawer: name it for what it holds", dir)
		}
	}
}

func TestNoInterfaceHasMoreMethodsThanOneRoleNeeds(t *testing.T) {
	for _, files := range packages(t) {
		for _, f := range files {
			ast.Inspect(f.file, func(node ast.Node) bool {
				spec, ok := node.(*ast.TypeSpec)
				if !ok {
					return true
				}
				role, ok := spec.Type.(*ast.InterfaceType)
				if ok && len(role.Methods.List) > mostMethods {
					t.Errorf("%s: interface %s has %d methods, want at most %d", f.name, spec.Name, len(role.Methods.List), mostMethods)
				}
				return true
			})
		}
	}
}

func TestNoTestSleepsOrIsSkipped(t *testing.T) {
	banned := map[string]string{
		"time.Sleep": "wait for what happens, or use testing/synctest",
		"t.Skip":     "a test that cannot run is a failure to be seen",
		"t.Skipf":    "a test that cannot run is a failure to be seen",
		"t.SkipNow":  "a test that cannot run is a failure to be seen",
	}
	for _, files := range packages(t) {
		for _, f := range files {
			if !f.test {
				continue
			}
			ast.Inspect(f.file, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if !ok || callee(call) == "time.Sleep" && fakeTime(files) {
					return true
				}
				if why, bad := banned[callee(call)]; bad {
					t.Errorf("%s calls %s: %s", f.name, callee(call), why)
				}
				return true
			})
		}
	}
}

// packages parses every Go file of this module, by the folder it is in.
func packages(t *testing.T) map[string][]source {
	t.Helper()
	found := map[string][]source{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(name)
		dir := path.Dir(slashed)
		if dir != "." {
			found[dir] = append(found[dir], source{slashed, strings.HasSuffix(name, "_test.go"), parsed})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("found no package")
	}
	for _, files := range found {
		sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	}
	return found
}

// skipFolder leaves out nested modules, test data and hidden folders.
func skipFolder(name string) error {
	base := filepath.Base(name)
	if name == "." {
		return nil
	}
	if base == "testdata" || base == "bin" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// allowedImports finds the line of the map for a package.
func allowedImports(dir string) ([]string, bool) {
	if allowed, ok := mayImport[dir]; ok {
		return allowed, true
	}
	for parent := path.Dir(dir); parent != "."; parent = path.Dir(parent) {
		if allowed, ok := mayImport[parent+"/…"]; ok {
			return allowed, true
		}
	}
	return nil, false
}

// ourImports returns the packages of this module that a file imports.
func ourImports(t *testing.T, f source) []string {
	t.Helper()
	var ours []string
	for _, spec := range f.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(imported, module+"/"); ok {
			ours = append(ours, rest)
		}
	}
	return ours
}

// callee writes a call's function as package.Name, or empty when it is not of that form.
func callee(call *ast.CallExpr) string {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	receiver, ok := selector.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return receiver.Name + "." + selector.Sel.Name
}

// fakeTime says whether a package's tests run in synctest's bubbles, where a
// sleep costs no time and is the way to let fake time pass.
func fakeTime(files []source) bool {
	return slices.ContainsFunc(files, func(f source) bool {
		return slices.ContainsFunc(f.file.Imports, func(spec *ast.ImportSpec) bool { return spec.Path.Value == `"testing/synctest"` })
	})
}

func TestTheExamplesRunOnTheNetworksOfTheRoot(t *testing.T) {
	networks := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, after, found := strings.Cut(string(text), "\nnetworks:\n")
		if !found {
			t.Fatalf("%s declares no networks", name)
		}
		return after
	}
	want := networks("docker-compose.yml")
	examples, err := filepath.Glob("examples/*/docker-compose.yml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("found no example: %v", err)
	}
	stacks := 0
	for _, example := range examples {
		if text, err := os.ReadFile(example); err != nil || !strings.Contains(string(text), "file: ../../docker-compose.yml") {
			continue // it stands beside the stack
		}
		stacks++
		if networks(example) != want {
			t.Errorf("%s declares other networks or volumes than docker-compose.yml: one project may run either", example)
		}
	}
	if stacks == 0 {
		t.Error("no example extends docker-compose.yml")
	}
}
