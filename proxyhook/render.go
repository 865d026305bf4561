package proxyhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"edgespawner/fleet"
)

// Document is a whole dynamic configuration as an edge reads it. It holds the
// edges' secret: it is for their eyes only.
type Document struct {
	JSON []byte
	Hash string // of all that JSON says; a probe router of the document sends it as HeaderConfig
	// LeftOut are the services without routers, though the view does not leave
	// them out: what was accepted once and is not now, after a change of settings.
	LeftOut map[string]error
}

// hashPlaceholder stands in a document for its own hash until that is known.
const hashPlaceholder = sharedPrefix + "hash"

// Render makes the document of a snapshot. The same arguments make the same
// bytes. It is safe for concurrent use, and cheap for what did not change since
// the last call; specs in a snapshot must never be changed.
func Render(s Settings, snapshot *fleet.Snapshot, v View) (*Document, error) {
	if s.FallbackURL == "" {
		return nil, errors.New("cannot render: no URL of the fallback router is set")
	}
	parts, refused, err := renderParts(s, snapshot, v)
	if err != nil {
		return nil, err
	}
	shared, err := renderShared(s.normal())
	if err != nil {
		return nil, err
	}
	data := assemble(append(parts, shared.fragment), shared)
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	data = bytes.ReplaceAll(data, []byte(`"`+hashPlaceholder+`"`), []byte(`"`+hash+`"`))
	return &Document{JSON: data, Hash: hash, LeftOut: refused}, nil
}

// renderParts returns the fragment of each service that has routers.
func renderParts(s Settings, snapshot *fleet.Snapshot, v View) (parts []fragment, refused map[string]error, err error) {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	plans, refused := kept.plansLocked(s, snapshot)
	parts = make([]fragment, 0, len(plans)+1)
	for i, p := range plans {
		routed := &snapshot.Services[i]
		if p == nil || len(p.routers) == 0 || v.LeftOut[routed.Name] {
			continue
		}
		part, err := p.fragmentLocked(s, routed, v.ACME && !v.WithoutResolver[routed.Name])
		if err != nil {
			return nil, nil, fmt.Errorf("cannot render %s: %w", routed.Name, err)
		}
		parts = append(parts, part)
	}
	return parts, refused, nil
}

// assemble joins fragments to a document. Empty maps are left out: an edge
// refuses a document that holds one.
func assemble(parts []fragment, shared sharedParts) []byte {
	size := len(shared.transports) + len(shared.tls) + 256
	for _, part := range parts {
		size += len(part.routers) + len(part.services) + len(part.middlewares) + 3
	}
	sections := []struct {
		name string
		of   func(fragment) []byte
	}{
		{"routers", func(f fragment) []byte { return f.routers }},
		{"services", func(f fragment) []byte { return f.services }},
		{"middlewares", func(f fragment) []byte { return f.middlewares }},
	}
	out := bytes.NewBuffer(make([]byte, 0, size))
	out.WriteString(`{"http":{`)
	for _, section := range sections {
		first := true
		for _, part := range parts {
			members := section.of(part)
			if len(members) == 0 {
				continue
			}
			if first {
				fmt.Fprintf(out, "%q:{", section.name)
			} else {
				out.WriteByte(',')
			}
			first = false
			out.Write(members)
		}
		if !first {
			out.WriteString("},")
		}
	}
	out.WriteString(`"serversTransports":`)
	out.Write(shared.transports)
	out.WriteByte('}')
	if len(shared.tls) > 0 {
		out.WriteString(`,"tls":`)
		out.Write(shared.tls)
	}
	out.WriteByte('}')
	return out.Bytes()
}
