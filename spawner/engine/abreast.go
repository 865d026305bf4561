package engine

import (
	"cmp"
	"sync"
)

// abreast does the same for each of a job's replicas: side by side on different
// nodes, and on each node as many at a time as it starts apps at a time. When one
// has failed no other is begun; the error is that of the first that did.
func abreast[T any](run *jobRun, list []T, node func(T) string, do func(T) error) error {
	if len(list) == 1 {
		return do(list[0])
	}
	w := &work[T]{waiting: map[string][]T{}, do: do}
	for _, item := range list {
		w.waiting[node(item)] = append(w.waiting[node(item)], item)
	}
	var nodes []string // one for each goroutine
	for name, waiting := range w.waiting {
		for range min(run.engine.startLimit(name), len(waiting)) {
			nodes = append(nodes, name)
		}
	}
	q := run.engine.queue
	q.goAbreast(run, len(nodes))
	var group sync.WaitGroup
	for _, name := range nodes {
		group.Go(func() {
			defer q.goAbreast(run, -1)
			w.run(name)
		})
	}
	group.Wait()
	return w.err
}

// leading is how many of the first of a list are such.
func leading[T any](list []T, such func(T) bool) int {
	for n, item := range list {
		if !such(item) {
			return n
		}
	}
	return len(list)
}

// goAbreast notes that so many goroutines more, or fewer, carry out steps of a job.
func (q *queue) goAbreast(run *jobRun, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	run.abreast += n
	q.leavesAtRestLocked(run)
}

// work is what is done abreast.
type work[T any] struct {
	do func(T) error

	mu      sync.Mutex
	waiting map[string][]T // by node, in order
	err     error
}

// run does one thing after another on a node, until none is left or one has failed anywhere.
func (w *work[T]) run(node string) {
	for {
		item, ok := w.next(node)
		if !ok {
			return
		}
		w.note(w.do(item))
	}
}

func (w *work[T]) next(node string) (item T, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := w.waiting[node]
	if w.err != nil || len(waiting) == 0 {
		return item, false
	}
	w.waiting[node] = waiting[1:]
	return waiting[0], true
}

// note keeps the first error.
func (w *work[T]) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = cmp.Or(w.err, err)
}
