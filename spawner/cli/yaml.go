package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"edgespawner/fleet"
)

// maxYAMLNodes bounds what the aliases of a document can grow to.
const maxYAMLNodes = 100_000

// yamlToJSON writes a YAML spec as the JSON that says the same. Where a spec
// holds text, as in env and labels, a scalar is taken as it is written: PORT:
// 8080 and DEBUG: true are text there. Fields stay as they are, known or not:
// what is wrong with them is said by the decoder that JSON goes through too.
func yamlToJSON(data []byte) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return nil, notYAML(err)
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fleet.Errorf(fleet.Invalid, "the file holds more than one document: deploy one service at a time")
	}
	w := yamlWriter{}
	if err := w.write(&document, reflect.TypeFor[fleet.Spec]()); err != nil {
		return nil, err
	}
	return w.out.Bytes(), nil
}

func notYAML(err error) error {
	return fleet.Errorf(fleet.Invalid, "the file is neither JSON nor YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
}

type yamlWriter struct {
	out   bytes.Buffer
	nodes int
}

// write writes a node; wanted is the type of the place that it goes to, nil = unknown.
func (w *yamlWriter) write(node *yaml.Node, wanted reflect.Type) error {
	if w.nodes++; w.nodes > maxYAMLNodes {
		return fleet.Errorf(fleet.TooLarge, "line %d: the document's aliases grow beyond %d values", node.Line, maxYAMLNodes)
	}
	for wanted != nil && wanted.Kind() == reflect.Pointer {
		wanted = wanted.Elem()
	}
	switch node.Kind {
	case yaml.DocumentNode:
		return w.write(node.Content[0], wanted)
	case yaml.AliasNode:
		return w.write(node.Alias, wanted)
	case yaml.MappingNode:
		return w.mapping(node, wanted)
	case yaml.SequenceNode:
		return w.sequence(node, wanted)
	default:
		return w.scalar(node, wanted)
	}
}

func (w *yamlWriter) mapping(node *yaml.Node, wanted reflect.Type) error {
	w.out.WriteByte('{')
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return fleet.Errorf(fleet.Invalid, "line %d: a name is wanted before the colon", key.Line)
		}
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.value(key.Value); err != nil {
			return err
		}
		w.out.WriteByte(':')
		if err := w.write(value, memberType(wanted, key.Value)); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

func (w *yamlWriter) sequence(node *yaml.Node, wanted reflect.Type) error {
	var element reflect.Type
	if wanted != nil && wanted.Kind() == reflect.Slice {
		element = wanted.Elem()
	}
	w.out.WriteByte('[')
	for i, value := range node.Content {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.write(value, element); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	return nil
}

func (w *yamlWriter) scalar(node *yaml.Node, wanted reflect.Type) error {
	const null = "!!null"
	if wanted != nil && wanted.Kind() == reflect.String && node.ShortTag() != null {
		return w.value(node.Value)
	}
	var value any
	if err := node.Decode(&value); err != nil {
		return fleet.Errorf(fleet.Invalid, "line %d: %s", node.Line, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	switch value.(type) {
	case nil, bool, int, int64, uint64, float64, string:
		return w.value(value)
	default: // a date, bytes: the decoder says what is wanted there
		return w.value(node.Value)
	}
}

func (w *yamlWriter) value(value any) error {
	text, err := json.Marshal(value)
	if err != nil { // .inf, .nan
		return fleet.Errorf(fleet.Invalid, "%v cannot be written in JSON", value)
	}
	w.out.Write(text)
	return nil
}

// memberType returns the type of a member of a struct or a map; nil = unknown.
func memberType(t reflect.Type, name string) reflect.Type {
	switch {
	case t == nil:
		return nil
	case t.Kind() == reflect.Map:
		return t.Elem()
	case t.Kind() != reflect.Struct:
		return nil
	}
	for _, field := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name {
			return field.Type
		}
	}
	return nil
}
