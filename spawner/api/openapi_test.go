package api

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

type description struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas map[string]struct{ Properties map[string]any }
	}
}

func readDescription(t *testing.T) description {
	t.Helper()
	w := ask(t, newEngine(), "GET", "/api/openapi.json", "", "Authorization", "")
	var d description
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 200 {
		t.Fatalf("got %d: %v", w.Code, err)
	}
	return d
}

func TestTheDescriptionHoldsEveryRoute(t *testing.T) {
	d := readDescription(t)
	count := 0
	for _, rt := range newAPI(newEngine()).routes() {
		path := strings.NewReplacer(":name", "{name}", ":id", "{id}").Replace(rt.path)
		operation, ok := d.Paths[path][strings.ToLower(rt.method)]
		if !ok {
			t.Errorf("%s %s is missing", rt.method, path)
		}
		for _, name := range rt.query {
			if parameters[name].says == "" || !strings.Contains(string(operation), `"`+name+`"`) {
				t.Errorf("%s %s: parameter %s is not described", rt.method, path, name)
			}
		}
		count++
	}
	for _, operations := range d.Paths {
		count -= len(operations)
	}
	if count != 0 {
		t.Errorf("%d routes more than descriptions", count)
	}
}

// inside are types with JSON tags that the API never shows.
var inside = map[string]bool{"Connection": true}

func TestTheDescriptionHoldsEveryFieldOfTheWireFormat(t *testing.T) {
	d := readDescription(t)
	files, err := filepath.Glob("../../fleet/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("cannot find the sources of fleet", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() && !inside[spec.Name.Name] {
				for _, tag := range jsonTags(spec) {
					if d.Components.Schemas[spec.Name.Name].Properties[tag] == nil {
						t.Errorf("%s.%s is missing", spec.Name.Name, tag)
					}
				}
			}
			return true
		})
	}
}

// jsonTags are the JSON names of the fields that a struct type declares itself.
func jsonTags(spec *ast.TypeSpec) []string {
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return nil
	}
	var tags []string
	for _, field := range structure.Fields.List {
		if field.Tag == nil {
			continue
		}
		name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
		if name != "" && name != "-" {
			tags = append(tags, name)
		}
	}
	return tags
}
