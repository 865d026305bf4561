package proxyhook

import (
	"errors"
	"slices"

	"edgespawner/fleet"
)

// mistakes collects what is wrong with a spec, each an *fleet.Error.
type mistakes struct{ list []error }

func (m *mistakes) add(field, format string, args ...any) {
	m.list = append(m.list, fleet.InvalidField(field, format, args...))
}

func (m *mistakes) none() bool { return len(m.list) == 0 }

// err returns nil, the only mistake, or all of them joined.
func (m *mistakes) err() error {
	switch len(m.list) {
	case 0:
		return nil
	case 1:
		return m.list[0]
	default:
		return errors.Join(slices.Clone(m.list)...)
	}
}
