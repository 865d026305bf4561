package engine

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTheMapInTheDocNamesEveryFileOnce(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(doc), "# Where to look\n")
	page, _, end := strings.Cut(after, "\n// # ")
	if !found || !end {
		t.Fatal("doc.go has no map")
	}
	named := regexp.MustCompile(`[a-z]+\.go`).FindAllString(page, -1)
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && name != "doc.go" {
			there = append(there, name)
		}
	}
	slices.Sort(named)
	if !slices.Equal(named, there) {
		t.Errorf("the map names\n%v\nand there are\n%v", named, there)
	}
}
