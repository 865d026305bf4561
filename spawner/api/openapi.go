package api

import (
	"encoding"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
)

// object is a piece of the description.
type object = map[string]any

// What the description says of handed-in handlers, whose own types are not known here.
type (
	loginBody struct {
		Username string       `json:"username"`
		Password fleet.Secret `json:"password"`
	}
	loginAnswer struct {
		Token string `json:"token"`
	}
	directBody struct {
		Name    string            `json:"name"`
		Network string            `json:"network"`
		Image   string            `json:"image"`
		Labels  map[string]string `json:"labels"`
		Envs    map[string]string `json:"envs"`
	}
	directAnswer struct {
		ID string `json:"id"`
	}
)

// parameters describes what stands in queries, by name.
var parameters = map[string]struct{ kind, says string }{
	"wait":       {"string", `answer at the job's end, or after this duration, such as "60s"`},
	"dry_run":    {"boolean", "answer the plan and change nothing"},
	"merge":      {"boolean", "lay the body over the service's present spec"},
	"force":      {"boolean", "do it although something speaks against it: replace what is right, remove a node with replicas"},
	"volumes":    {"boolean", "remove the volumes too that no other service uses, as far as the spawner has made them"},
	"used":       {"boolean", "measure what is used of each node, which takes a moment"},
	"reveal":     {"string", "env: show the values of env and of health_check.headers; takes scope admin"},
	"tail":       {"integer", "so many lines from the end; all by default"},
	"since":      {"string", "a time (RFC 3339), or a duration counted back from now"},
	"follow":     {"boolean", "go on with what comes"},
	"timestamps": {"boolean", "begin each line with its time"},
	"replica":    {"string", "of this replica only"},
	"service":    {"string", "of this service only"},
	"type":       {"string", "of these types only, with commas between"},
	"node":       {"string", "of this node only"},
	"by":         {"string", "only what this token or account asked for"},
	"until":      {"string", "before this time (RFC 3339), or a duration counted back from now"},
	"limit":      {"integer", "at most so many"},
	"after":      {"integer", "only events with a greater id, ascending from there; without it, the newest"},
	"before":     {"integer", "only events with a smaller id"},
	"edge":       {"string", "the name of the edge"},
}

// choices are the values of the types that have a fixed set, as a body may hold them.
var choices = map[reflect.Type][]string{
	reflect.TypeFor[fleet.Scope]():         {"admin", "deploy", "read", "edge"},
	reflect.TypeFor[fleet.SleepMode]():     {"pause", "stop", "deep"},
	reflect.TypeFor[fleet.WakeAnswer]():    {"auto", "hold", "page", "redirect"},
	reflect.TypeFor[fleet.RestartPolicy](): {"always", "on-failure", "never"},
	reflect.TypeFor[fleet.PullPolicy]():    {"missing", "always", "never"},
	reflect.TypeFor[fleet.UpdateOrder]():   {"start-first", "stop-first"},
	reflect.TypeFor[fleet.Strategy]():      {"spread", "binpack"},
	reflect.TypeFor[fleet.CheckType]():     {"http", "tcp", "command", "docker", "none"},
	reflect.TypeFor[fleet.JobState]():      {"queued", "running", "succeeded", "failed", "canceled"},
}

var pathParameter = regexp.MustCompile(`:([a-z]+)`)

func (a *API) openapi(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", applicationJSON)
	_, _ = w.Write(a.document)
	return nil
}

// describe writes the OpenAPI description of a table.
func describe(table []route) []byte {
	schemas := schemas{}
	paths := object{}
	for _, rt := range table {
		path := pathParameter.ReplaceAllString(rt.path, "{$1}")
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path].(object)[strings.ToLower(rt.method)] = schemas.operation(rt)
	}
	schemas.of(reflect.TypeFor[errorAnswer]())
	document, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info":    object{"title": "Spawner, private API", "version": "1"},
		"paths":   paths,
		"components": object{
			"schemas": schemas,
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer"},
				"basic":  object{"type": "http", "scheme": "basic"},
			},
		},
	}, "", " ")
	if err != nil {
		panic(err) // maps of strings: it cannot fail
	}
	return append(document, '\n')
}

// schemas are the named types that were met so far.
type schemas map[string]any

func (s schemas) operation(rt route) object {
	status := rt.status
	if status == 0 {
		status = http.StatusOK
	}
	good := object{"description": http.StatusText(status)}
	if rt.answer != nil {
		good["content"] = s.content(rt.types, reflect.TypeOf(rt.answer))
	}
	responses := object{
		strconv.Itoa(status): good,
		"default":            object{"description": "a refusal", "content": s.content(nil, reflect.TypeFor[errorAnswer]())},
	}
	if status == http.StatusAccepted {
		responses["200"] = object{"description": "nothing is left to be done: with wait the job that has ended, with plan or dry_run what would be done, else what is so already"}
	}
	operation := object{"summary": rt.summary, "responses": responses}
	if rt.body != nil {
		operation["requestBody"] = object{"content": s.content(nil, reflect.TypeOf(rt.body))}
	}
	if rt.scope != open {
		operation["description"] = "Needs scope " + string(rt.scope) + "."
		operation["security"] = []object{{"bearer": []string{}}, {"basic": []string{}}}
	}
	var list []object
	for _, match := range pathParameter.FindAllStringSubmatch(rt.path, -1) {
		list = append(list, object{"name": match[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, name := range rt.query {
		p := parameters[name]
		list = append(list, object{"name": name, "in": "query", "description": p.says, "schema": object{"type": p.kind}})
	}
	if list != nil {
		operation["parameters"] = list
	}
	return operation
}

func (s schemas) content(types []string, answer reflect.Type) object {
	schema := s.of(answer)
	if types == nil {
		types = []string{applicationJSON}
	}
	content := object{}
	for _, media := range types {
		content[media] = object{"schema": schema}
		if media == textPlain {
			content[media] = object{"schema": object{"type": "string"}}
		}
	}
	return content
}

// of returns the schema of a type; a named struct is described once and referred to.
func (s schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[fleet.Duration]():
		return object{"type": "string", "description": `a duration such as "10s"`}
	case reflect.TypeFor[json.RawMessage]():
		return object{"type": "object"}
	case reflect.TypeFor[verbAnswer]():
		return object{"oneOf": []object{s.of(reflect.TypeFor[fleet.Accepted]()), s.of(reflect.TypeFor[fleet.Job]())}}
	case reflect.TypeFor[rebalanceAnswer]():
		return object{"oneOf": []object{s.of(reflect.TypeFor[fleet.RebalancePlan]()), s.of(reflect.TypeFor[fleet.Job]())}}
	case reflect.TypeFor[deployAnswer]():
		return object{"oneOf": []object{s.of(reflect.TypeFor[verbAnswer]()), s.of(reflect.TypeFor[fleet.Plan]())}}
	}
	if values, ok := choices[t]; ok {
		return object{"type": "string", "enum": values}
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.structure(t)
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	default:
		return object{"type": "integer"}
	}
}

func (s schemas) structure(t reflect.Type) object {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	reference := object{"$ref": "#/components/schemas/" + name}
	if _, met := s[name]; met {
		return reference
	}
	properties := object{}
	s[name] = object{"type": "object", "properties": properties} // before its fields, which may refer to it
	required := map[string]bool{}
	for _, field := range reflect.VisibleFields(t) {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || tag == "-" || tag == "" {
			continue
		}
		properties[tag] = s.of(field.Type)
		required[tag] = !strings.Contains(options, "omit")
	}
	maps.DeleteFunc(required, func(_ string, needed bool) bool { return !needed })
	if t != reflect.TypeFor[fleet.Spec]() && len(required) > 0 {
		s[name].(object)["required"] = slices.Sorted(maps.Keys(required))
	} else if t == reflect.TypeFor[fleet.Spec]() {
		s[name].(object)["required"] = []string{"image", "name"} // the others have defaults
	}
	return reference
}
