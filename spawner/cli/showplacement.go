package cli

import (
	"fmt"

	"edgespawner/fleet"
)

// showPlacement writes a placement as the flags of deploy say it, a rule a line.
func showPlacement(p fleet.Placement) []string {
	var lines []string
	for _, c := range p.Constraints {
		lines = append(lines, string(c))
	}
	for _, s := range p.Spread {
		line := "spread over " + s.Over
		if s.Required {
			line += fmt.Sprintf(", required within %d", max(s.MaxSkew, 1))
		}
		lines = append(lines, line)
	}
	if p.AntiAffinity != "" {
		lines = append(lines, "at most one for each "+p.AntiAffinity)
	}
	for _, c := range p.Prefer {
		lines = append(lines, "rather "+string(c))
	}
	if p.Strategy == fleet.StrategyBinpack {
		lines = append(lines, "on the fullest node (binpack)")
	}
	return lines
}

func showVolumes(volumes []fleet.Volume) []string {
	lines := make([]string, len(volumes))
	for i, v := range volumes {
		lines[i] = v.Name + " at " + v.Path
		if v.ReadOnly {
			lines[i] += ", read only"
		}
	}
	return lines
}
