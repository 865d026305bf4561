package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
)

// placementFlags are the flags of deploy that say on which nodes a service runs,
// and with which of their volumes.
type placementFlags struct {
	constraints, spread, prefer, volumes []string
	antiAffinity, strategy               string
}

func (f *placementFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.volumes, "volume", nil, "mount a volume of the node: `NAME:PATH[:ro]`; may be repeated")
	flags.StringArrayVar(&f.constraints, "constraint", nil, "only on nodes with this label: `LABEL==VALUE` or LABEL!=VALUE; node is their name; may be repeated")
	flags.StringArrayVar(&f.prefer, "prefer", nil, "rather on nodes with this label: `LABEL==VALUE` or LABEL!=VALUE; may be repeated")
	flags.StringArrayVar(&f.spread, "spread", nil, "spread the replicas evenly over the values of a `LABEL`, or over node; LABEL:required refuses what is uneven; may be repeated")
	flags.StringVar(&f.antiAffinity, "anti-affinity", "", "at most one replica for each value of this `LABEL`, or on each node; none = no matter")
	flags.StringVar(&f.strategy, "strategy", "", "among the nodes that fit, take the emptiest or the fullest: `spread|binpack`")
	complete(cmd, "spread", fleet.NodeName)
	complete(cmd, "anti-affinity", fleet.NodeName, "none")
	complete(cmd, "strategy", string(fleet.StrategySpread), string(fleet.StrategyBinpack))
}

func (f *placementFlags) put(b *bodyBuilder) {
	b.parse("volume", "volumes", func() (any, error) { return parseVolumes(f.volumes) })
	b.put("constraint", "placement.constraints", f.constraints)
	b.put("prefer", "placement.prefer", f.prefer)
	b.parse("spread", "placement.spread", func() (any, error) { return parseSpread(f.spread) })
	over := f.antiAffinity
	if over == "none" {
		over = ""
	}
	b.put("anti-affinity", "placement.anti_affinity", over)
	b.put("strategy", "placement.strategy", f.strategy)
}

// parseVolumes reads NAME:PATH, NAME:PATH:ro or NAME:PATH:rw.
func parseVolumes(texts []string) ([]fleet.Volume, error) {
	volumes := []fleet.Volume{}
	for _, text := range texts {
		name, rest, ok := strings.Cut(text, ":")
		path, mode, hasMode := strings.Cut(rest, ":")
		if !ok || name == "" || path == "" || hasMode && mode != "ro" && mode != "rw" {
			return nil, fmt.Errorf("%q is not NAME:PATH[:ro], such as data:/var/lib/app", text)
		}
		if strings.ContainsAny(name[:1], "/.~") {
			return nil, fmt.Errorf("%q names a folder of the node; only named volumes can be mounted", name)
		}
		volumes = append(volumes, fleet.Volume{Name: name, Path: path, ReadOnly: mode == "ro"})
	}
	return volumes, nil
}

// parseSpread reads LABEL or LABEL:required.
func parseSpread(texts []string) ([]fleet.Spread, error) {
	spreads := []fleet.Spread{}
	for _, text := range texts {
		over, mode, hasMode := strings.Cut(text, ":")
		if over == "" || hasMode && mode != "required" && mode != "preferred" {
			return nil, fmt.Errorf("%q is not LABEL or LABEL:required, such as zone or node:required", text)
		}
		spreads = append(spreads, fleet.Spread{Over: over, Required: mode == "required"})
	}
	return spreads, nil
}
