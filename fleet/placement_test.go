package fleet

import (
	"fmt"
	"strings"
	"testing"
)

func TestAConstraintSaysWhatItsPartsAre(t *testing.T) {
	for text, want := range map[string]string{
		"zone==eu":                 "zone eu true",
		"zone!=eu":                 "zone eu false",
		" example.com/disk == ssd": "example.com/disk ssd true",
		"node==node-2":             "node node-2 true",
		"mail==a@b.example":        "mail a@b.example true",
	} {
		label, value, equal, err := Constraint(text).Parse()
		if got := fmt.Sprint(label, " ", value, " ", equal); err != nil || got != want {
			t.Errorf("%q: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "zone", "zone=eu", "zone==", "==eu", "zone===eu", "zone!==eu", "zo ne==eu", "zone==\x01", "-zone==eu", "zone<=eu", "zone==" + strings.Repeat("x", 300)} {
		if _, _, _, err := Constraint(text).Parse(); err == nil || !strings.Contains(err.Error(), "zone==eu") {
			t.Errorf("%q: got %v, want an error with an example", text, err)
		}
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, text := range []string{"zone==eu", "zone!=eu", "a = = b", "node==node-1", "!==", "\x00==x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		label, value, equal, err := Constraint(text).Parse()
		if err != nil {
			return
		}
		operator := "!="
		if equal {
			operator = "=="
		}
		again := Constraint(label + operator + value)
		l, v, e, err := again.Parse()
		if err != nil || l != label || v != value || e != equal {
			t.Errorf("%q says %s, which says %s %s %v, %v", text, again, l, v, e, err)
		}
		node := NodeSpec{Name: "n", Endpoint: "unix:///x.sock", Labels: map[string]string{label: value}}
		if label != NodeName && node.Validate() != nil {
			t.Errorf("%q asks for a label that no node can have: %v", text, node.Validate())
		}
	})
}

func TestAPlacementAndVolumesAreReadFromABody(t *testing.T) {
	spec, err := DecodeSpec(strings.NewReader(`{"name":"db","image":"postgres","placement":{"constraints":["zone==eu"],"spread":[{"over":"zone","required":true,"max_skew":2}],
		"strategy":"binpack","prefer":["disk==ssd"]},"volumes":[{"name":"data","path":"/data"},{"name":"seed","path":"/seed","read_only":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if !spec.WritesVolumes() || spec.Volumes[1] != (Volume{"seed", "/seed", true}) || spec.Placement.Spread[0] != (Spread{"zone", true, 2}) || spec.Placement.Strategy != StrategyBinpack {
		t.Errorf("got %+v", spec)
	}
	if spec.Volumes = spec.Volumes[1:]; spec.WritesVolumes() {
		t.Error("a volume that is only read is said to be written to")
	}
}
