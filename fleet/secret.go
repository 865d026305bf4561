package fleet

import "log/slog"

// Redacted is what a secret prints and marshals as.
const Redacted = "redacted"

// Secret is a value that is never shown: printed, logged and marshalled it
// reads "redacted". Only Reveal gives it out, and only the store, the engine of
// containers and an admin's explicit request call that.
type Secret string

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string { return Redacted }

// GoString keeps %#v from showing the value.
func (s Secret) GoString() string { return Redacted }

// MarshalText writes "redacted".
func (s Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// UnmarshalText takes the value as it stands.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// RevealAll returns values by name as they are; never nil.
func RevealAll(secrets map[string]Secret) map[string]string {
	plain := make(map[string]string, len(secrets))
	for name, value := range secrets {
		plain[name] = value.Reveal()
	}
	return plain
}

// LogValue keeps slog from showing the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }
