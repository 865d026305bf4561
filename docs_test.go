package edgespawner

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
	"edgespawner/spawner/api"
)

func TestTheReadmeNamesEveryRouteOfTheAPI(t *testing.T) {
	nobody := http.NotFoundHandler()
	w := httptest.NewRecorder()
	verbs := struct{ api.Verbs }{} // none is called
	api.New(api.Config{Verbs: verbs, Feed: nobody, Metrics: nobody, Direct: nobody}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/openapi.json", nil))
	var description struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(w.Body.Bytes(), &description); err != nil {
		t.Fatal(err)
	}
	var want []string
	for path, methods := range description.Paths {
		for method := range methods {
			want = append(want, strings.ToUpper(method)+" "+strings.TrimSuffix(path, "/"))
		}
	}
	got := submatches(read(t, "README.md"), "(?m)^\\| `((?:GET|POST|PUT|DELETE) [^`]+)` \\|")
	sameSet(t, want, got)
}

func TestTheReadmeNamesEveryFieldOfADeploy(t *testing.T) {
	section := between(t, read(t, "README.md"), "\n| field | default |", "\n\n")
	var got []string
	for _, row := range submatches(section, "(?m)^\\| (`[^|]+`) \\|") {
		got = append(got, submatches(row, "`([^`]+)`")...)
	}
	want := fieldsOf(reflect.TypeFor[fleet.Spec](), "")
	want = slices.DeleteFunc(want, func(field string) bool { // shown by their parts
		return slices.ContainsFunc(want, func(other string) bool {
			return field != "route" && (strings.HasPrefix(other, field+".") || strings.HasPrefix(other, field+"[]"))
		})
	})
	sameSet(t, want, got)
}

// fieldsOf lists the JSON names of a struct's fields and of those below it.
func fieldsOf(of reflect.Type, prefix string) []string {
	var names []string
	for _, field := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		name, inner := prefix+name, field.Type
		names = append(names, name)
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Slice {
			name, inner = name+"[]", inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			names = append(names, fieldsOf(inner, name+".")...)
		}
	}
	return names
}

func TestTheDeployInFullIsOne(t *testing.T) {
	text := between(t, read(t, "README.md"), "```json\n{\"name\": \"api-server\"", "```")
	if _, err := fleet.DecodeSpec(strings.NewReader(strings.TrimPrefix(text, "```json\n"))); err != nil {
		t.Error(err)
	}
}

func TestTheReadmeNamesEveryCommand(t *testing.T) {
	want := submatches(read(t, "docs/cli.md"), "(?m)^## (spawner [a-z]+)$")
	got := submatches(read(t, "README.md"), "(?m)^\\| `(spawner [a-z]+)` \\|")
	sameSet(t, want, got)
}

func TestTheReadmeNamesEverySettingOfUp(t *testing.T) {
	settings := "(SPAWNER_[A-Z_]+)"
	usage := between(t, read(t, "build_project.sh"), "\nSettings, kept in", "\nTEXT")
	section := between(t, read(t, "README.md"), "\n## Settings of up", "\n## ")
	named := submatches(section, settings)
	for _, setting := range submatches(usage, settings) {
		if !slices.Contains(named, setting) {
			t.Errorf("README.md does not name %s", setting)
		}
	}
}

func TestTheDocsNameOnlyFlagsThatThereAre(t *testing.T) {
	flag := "(?:^|[ `\\[(])(--[a-z][a-z-]+)"
	known := submatches(read(t, "docs/cli.md"), flag)
	known = append(known, "--volumes")                                               // of down
	known = append(known, "--fail-with-body", "--max-time", "--rm", "--sysctl")      // of curl and docker
	known = append(known, submatches(read(t, "build_project.sh"), "(--[a-z-]+)")...) // of its commands
	for _, page := range pages(t) {
		for _, named := range submatches(read(t, page), flag) {
			if !slices.Contains(known, named) {
				t.Errorf("%s names %s, which there is not", page, named)
			}
		}
	}
}

func TestEveryLinkOfTheDocsLeadsSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, link := range submatches(read(t, page), "\\]\\(([^)]+)\\)") {
			if strings.Contains(link, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(link, "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s leads to %s: %v", page, link, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s leads to %s, a heading that there is not", page, link)
			}
		}
	}
}

func TestTheMapOfTheCodeNamesWhatIsThere(t *testing.T) {
	section := between(t, read(t, "README.md"), "\n## The map of the code", "\n## Working on it")
	named := submatches(section, "`([a-z0-9_-]+(?:/[a-z0-9_-]+)*(?:/|\\.go|\\.sh))`")
	for _, path := range named {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("it names %s: %v", path, err)
		}
	}
	for folder := range packages(t) {
		if folder != "spawner" && !slices.Contains(named, folder+"/") {
			t.Errorf("it does not name %s", folder)
		}
	}
}

// pages are the documents that people read.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"README.md", "docs/*.md", "examples/*/README.md"} {
		matches, err := fs.Glob(os.DirFS("."), pattern)
		if err != nil || len(matches) == 0 {
			t.Fatalf("found no %s: %v", pattern, err)
		}
		found = append(found, matches...)
	}
	return found
}

// anchors are the headings of a page as links name them.
func anchors(page string) []string {
	var found []string
	for _, heading := range submatches(page, "(?m)^#+ (.+)$") {
		kept := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(heading), "")
		found = append(found, strings.ReplaceAll(kept, " ", "-"))
	}
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// between returns a text's part from a mark, the mark included, to the next end.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	at := strings.Index(text, from)
	if at < 0 {
		t.Fatalf("found no %q", from)
	}
	rest := text[at:]
	if end := strings.Index(rest[len(from):], to); end >= 0 {
		rest = rest[:len(from)+end]
	}
	return rest
}

// submatches returns the first group of each match.
func submatches(text, pattern string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

func sameSet(t *testing.T, want, got []string) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("there is nothing to compare with")
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(want), slices.Compact(got)); diff != "" {
		t.Errorf("README.md differs (-there is, +it names):\n%s", diff)
	}
}
