package fleet

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Placement says which nodes take the replicas of a service, and which of them
// are liked better. The zero value is what most want: any node that fits,
// replicas apart from each other.
type Placement struct {
	Constraints  []Constraint `json:"constraints,omitempty"`   // all must hold for a node
	Spread       []Spread     `json:"spread,omitempty"`        // evenly over the values of labels
	AntiAffinity string       `json:"anti_affinity,omitempty"` // a label, or node: at most one replica for each of its values; empty = no matter
	Strategy     Strategy     `json:"strategy,omitempty"`      // empty = spread
	Prefer       []Constraint `json:"prefer,omitempty"`        // the more of them hold for a node, the better
}

// NodeName is the label that every node has: its name.
const NodeName = "node"

// Constraint is one condition on the labels of a node: zone==eu or zone!=eu.
// A node without the label is unequal to every value.
type Constraint string

// Spread asks for the replicas of a service to be spread evenly over the values
// of a label of the nodes, or over the nodes themselves.
type Spread struct {
	Over     string `json:"over"`               // a label, or node
	Required bool   `json:"required,omitempty"` // false = as far as it goes
	MaxSkew  int    `json:"max_skew,omitempty"` // required: how many more replicas one value may have than another; 0 = 1
}

// Strategy says which of the nodes that fit is chosen.
type Strategy string

// The strategies.
const (
	StrategySpread  Strategy = "spread"  // the emptiest node
	StrategyBinpack Strategy = "binpack" // the fullest one, so that others stay free
)

// Volume is a named volume of Docker that the app mounts.
type Volume struct {
	Name     string `json:"name"`
	Path     string `json:"path"` // in the app, absolute
	ReadOnly bool   `json:"read_only,omitempty"`
}

// WritesVolumes says whether the app may write to a volume: then all its
// replicas are on the node that has it, and the old app ends before a new one starts.
func (s *Spec) WritesVolumes() bool {
	return slices.ContainsFunc(s.Volumes, func(v Volume) bool { return !v.ReadOnly })
}

// Bounds of a placement.
const (
	maxVolumeName = 128
	maxSkew       = MaxReplicas
)

var volumePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`) // Docker's own rule

// validNodeKey says whether it can be a label's key, or is every node's name.
func validNodeKey(key string) bool { return labelPattern.MatchString(key) }

// validNodeValue says whether a constraint can ask for a value: one that a node
// can have, and that is not taken for a slip of the pen.
func validNodeValue(value string) bool {
	return value != "" && len(value) <= maxLabelValue && !strings.HasPrefix(value, "=") && !strings.ContainsFunc(value, isControl)
}

// Parse returns the label and the value of a constraint, and whether they must
// be equal. Blanks around the parts do not matter.
func (c Constraint) Parse() (label, value string, equal bool, err error) {
	at := strings.Index(string(c), "=")
	if at < 0 {
		return "", "", false, c.malformed()
	}
	left, right := string(c)[:at], string(c)[at+1:]
	switch {
	case strings.HasSuffix(left, "!"):
		left = strings.TrimSuffix(left, "!")
	case strings.HasPrefix(right, "="):
		right, equal = right[1:], true
	default:
		return "", "", false, c.malformed()
	}
	label, value = strings.TrimSpace(left), strings.TrimSpace(right)
	if !validNodeKey(label) || !validNodeValue(value) {
		return "", "", false, c.malformed()
	}
	return label, value, equal, nil
}

func (c Constraint) malformed() error {
	return fmt.Errorf("%q is not LABEL==VALUE or LABEL!=VALUE, such as zone==eu or node!=node-1", string(c))
}

func (s *Spec) validatePlacement(v *validation) {
	p := s.Placement
	for i, c := range p.Constraints {
		_, _, _, err := c.Parse()
		v.check(err == nil, fmt.Sprintf("placement.constraints[%d]", i), "%v", err)
	}
	for i, c := range p.Prefer {
		_, _, _, err := c.Parse()
		v.check(err == nil, fmt.Sprintf("placement.prefer[%d]", i), "%v", err)
	}
	for i, spread := range p.Spread {
		field := fmt.Sprintf("placement.spread[%d]", i)
		v.check(validNodeKey(spread.Over), field+".over", "%q is neither node nor a label's key", spread.Over)
		v.check(spread.MaxSkew >= 0 && spread.MaxSkew <= maxSkew, field+".max_skew", "%d is not between 0 (= 1) and %d", spread.MaxSkew, maxSkew)
		v.check(spread.MaxSkew == 0 || spread.Required, field+".max_skew", "is for a spread that is required")
		twice := slices.ContainsFunc(p.Spread[:i], func(other Spread) bool { return other.Over == spread.Over })
		v.check(!twice, field+".over", "%q stands twice", spread.Over)
	}
	v.check(p.AntiAffinity == "" || validNodeKey(p.AntiAffinity), "placement.anti_affinity", "%q is neither node nor a label's key", p.AntiAffinity)
	oneOf(v, "placement.strategy", p.Strategy, "", StrategySpread, StrategyBinpack)
}

func (s *Spec) validateVolumes(v *validation) {
	paths := map[string]bool{}
	for i, volume := range s.Volumes {
		field := fmt.Sprintf("volumes[%d]", i)
		v.check(len(volume.Name) <= maxVolumeName && volumePattern.MatchString(volume.Name), field+".name",
			"%q is not a volume's name: 2 to %d letters, digits, and _ . - after the first", volume.Name, maxVolumeName)
		v.check(validMountPath(volume.Path), field+".path", "%q is not an absolute path below /, without : , .. and a / at its end", volume.Path)
		v.check(!paths[volume.Path], field+".path", "%q stands twice", volume.Path)
		paths[volume.Path] = true
	}
	pinned := s.WritesVolumes() && s.Replicas > 1 && s.Placement.AntiAffinity != ""
	v.check(!pinned, "placement.anti_affinity", "keeps replicas apart, but volumes that they write to keep them on one node; make the volumes read_only or ask for one replica")
}

func validMountPath(path string) bool {
	if len(path) < 2 || path[0] != '/' || strings.ContainsAny(path, ":\x00\n") {
		return false
	}
	for _, part := range strings.Split(path[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}
