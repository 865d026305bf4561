package fleet

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// DecodeSpec reads one deploy body: strict JSON over DefaultSpec, validated.
// Errors are *Error, several of them joined.
func DecodeSpec(r io.Reader) (Spec, error) { return DecodeSpecOver(DefaultSpec(), r) }

// DecodeSpecOver reads a deploy body over base: what the body does not name
// stays as it is there; a map such as env is merged, a list is replaced. Of the
// health check in base, what another type has no use for is not kept.
func DecodeSpecOver(base Spec, r io.Reader) (Spec, error) {
	spec := base
	if err := DecodeStrict(r, &spec); err != nil {
		return Spec{}, err
	}
	spec.HealthCheck = spec.HealthCheck.withoutInherited(base.HealthCheck)
	spec.fillDefaults()
	return spec, spec.Validate()
}

// DecodeStrict reads one JSON value into target, a pointer to a struct of this
// wire format. Unknown and duplicate fields, wrong types and anything after the
// value are refused by an *Error that names the field's whole path. Null leaves
// a field as it is, and takes an entry out of a map such as env.
func DecodeStrict(r io.Reader, target any) error {
	data, err := io.ReadAll(io.LimitReader(r, MaxSpecSize+1))
	if err != nil {
		return fmt.Errorf("cannot read the body: %w", err)
	}
	if len(data) > MaxSpecSize {
		return Errorf(TooLarge, "the body is larger than %d bytes", MaxSpecSize)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return Errorf(Invalid, "the body is empty; a JSON object is wanted")
	}
	if !json.Valid(data) {
		return notJSON(data)
	}
	return decodeValue("", data, reflect.ValueOf(target).Elem())
}

func notJSON(data []byte) error {
	var ignored any
	err := json.Unmarshal(data, &ignored)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return Errorf(Invalid, "the body is not JSON: %s at byte %d", syntax, syntax.Offset)
	}
	return Errorf(Invalid, "the body is not JSON: %s", err)
}

func decodeValue(path string, data json.RawMessage, target reflect.Value) error {
	if string(bytes.TrimSpace(data)) == "null" {
		return nil
	}
	if own(target) {
		return decodeLeaf(path, data, target)
	}
	switch target.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(target.Type().Elem())
		if !target.IsNil() {
			fresh.Elem().Set(target.Elem()) // a copy: the base that is decoded over may be shared
		}
		target.Set(fresh)
		return decodeValue(path, data, target.Elem())
	case reflect.Struct:
		return decodeStruct(path, data, target)
	case reflect.Map:
		return decodeMap(path, data, target)
	case reflect.Slice:
		return decodeSlice(path, data, target)
	default:
		return decodeLeaf(path, data, target)
	}
}

// own says whether the value's type reads itself.
func own(target reflect.Value) bool {
	switch target.Addr().Interface().(type) {
	case json.Unmarshaler, encoding.TextUnmarshaler:
		return true
	}
	return false
}

func decodeLeaf(path string, data json.RawMessage, target reflect.Value) error {
	err := json.Unmarshal(data, target.Addr().Interface())
	if err == nil {
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return InvalidField(path, "%s is wanted, not %s", wanted(target.Type()), wrong.Value)
	}
	return InvalidField(path, "%s", err)
}

func decodeStruct(path string, data json.RawMessage, target reflect.Value) error {
	if data = bytes.TrimSpace(data); data[0] != '{' {
		return InvalidField(path, "an object is wanted")
	}
	fields := fieldsByName(target.Type())
	return eachMember(path, data, func(name string, value json.RawMessage) error {
		index, known := fields[name]
		if !known {
			return InvalidField(join(path, name), "unknown field; known here: %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		return decodeValue(join(path, name), value, target.FieldByIndex(index))
	})
}

func decodeMap(path string, data json.RawMessage, target reflect.Value) error {
	if data = bytes.TrimSpace(data); data[0] != '{' {
		return InvalidField(path, "an object is wanted")
	}
	merged := reflect.MakeMap(target.Type())
	for _, key := range target.MapKeys() {
		merged.SetMapIndex(key, target.MapIndex(key))
	}
	err := eachMember(path, data, func(name string, value json.RawMessage) error {
		if string(bytes.TrimSpace(value)) == "null" {
			merged.SetMapIndex(reflect.ValueOf(name), reflect.Value{}) // takes it out
			return nil
		}
		element := reflect.New(target.Type().Elem()).Elem()
		if err := decodeValue(join(path, name), value, element); err != nil {
			return err
		}
		merged.SetMapIndex(reflect.ValueOf(name), element)
		return nil
	})
	target.Set(merged)
	return err
}

func decodeSlice(path string, data json.RawMessage, target reflect.Value) error {
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		return InvalidField(path, "a list is wanted")
	}
	list := reflect.MakeSlice(target.Type(), len(elements), len(elements))
	var mistakes []error
	for i, element := range elements {
		mistakes = append(mistakes, decodeValue(fmt.Sprintf("%s[%d]", path, i), element, list.Index(i)))
	}
	target.Set(list)
	return errors.Join(mistakes...)
}

// eachMember calls member for every member of a JSON object, in order, and joins the errors.
func eachMember(path string, data json.RawMessage, member func(name string, value json.RawMessage) error) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if _, err := decoder.Token(); err != nil {
		return InvalidField(path, "%s", err)
	}
	seen := map[string]bool{}
	var mistakes []error
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return InvalidField(path, "%s", err)
		}
		name, _ := token.(string) // the keys of an object are strings
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return InvalidField(join(path, name), "%s", err)
		}
		if seen[name] {
			mistakes = append(mistakes, InvalidField(join(path, name), "stands twice"))
			continue
		}
		seen[name] = true
		mistakes = append(mistakes, member(name, value))
	}
	return errors.Join(mistakes...)
}

// fieldsByName maps the JSON names of a struct's fields to their places.
func fieldsByName(t reflect.Type) map[string][]int {
	fields := map[string][]int{}
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || field.Anonymous || !field.IsExported() {
			continue
		}
		if name == "" {
			name = field.Name
		}
		fields[name] = field.Index
	}
	return fields
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	default:
		return t.String()
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
