package docker

import (
	"strings"
	"time"
)

// Call is one call of an engine that has ended.
type Call struct {
	Node string
	Verb string // as in create_container: what was done to what, never to which
	Took time.Duration
	Err  error // nil = it succeeded
}

// Observe sets who is told of each call when it has ended; it returns at once.
// It is set before anything is asked of the pool.
func (p *Pool) Observe(told func(Call)) { p.observe = told }

// observed tells of a call that began then. The error is read when it runs, so
// it is deferred with the address of what the caller returns. A name that is no
// node's is not passed on: there is no end of those.
func (p *Pool) observed(nodeName, words string, began time.Time, err *error) {
	if p.observe == nil {
		return
	}
	if _, unknown := p.node(nodeName); unknown != nil {
		return
	}
	p.observe(Call{Node: nodeName, Verb: callName(words), Took: time.Since(began), Err: *err})
}

// callName makes the name of a call from the words that its errors begin with:
// the verb and its object, without the subject that a person needs, of which
// there is no end.
func callName(words string) string {
	verb, rest, _ := strings.Cut(words, " ")
	for _, article := range []string{"a ", "the "} {
		rest = strings.TrimPrefix(rest, article)
	}
	object, _, _ := strings.Cut(rest, " ")
	return verb + "_" + object
}
