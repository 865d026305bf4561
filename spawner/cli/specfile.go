package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"edgespawner/fleet"
)

// readSpecFile reads a deploy body, JSON or YAML, from a file, or from standard
// input for -; it returns JSON whose fields and types are those of a spec.
func (a *app) readSpecFile(path string) ([]byte, error) {
	data, err := a.readFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spec: %w", err)
	}
	body, err := specJSON(data)
	if err != nil {
		return nil, err
	}
	var spec fleet.Spec
	return body, fleet.DecodeStrict(bytes.NewReader(body), &spec)
}

func (a *app) readFile(path string) ([]byte, error) {
	var source io.Reader = a.In
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		source = file
	}
	data, err := io.ReadAll(io.LimitReader(source, fleet.MaxSpecSize+1))
	if err == nil && len(data) > fleet.MaxSpecSize {
		err = fleet.Errorf(fleet.TooLarge, "it is larger than %d bytes", fleet.MaxSpecSize)
	}
	return data, err
}

// specJSON returns JSON as it stands and turns anything else from YAML into JSON.
func specJSON(data []byte) ([]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] == '{' {
		return data, nil
	}
	return yamlToJSON(data)
}
