package fallback

import (
	"bytes"
	"context"
	"html/template"
	"net/http"
	"time"
)

const (
	// pageGrace is how long a browser waits before it sees the page: most wakes
	// are over by then, and it sees the app itself.
	pageGrace = 250 * time.Millisecond
	// rememberFailure is how long the failure of a wake that clients saw the
	// page of is kept, so that the page's next reload shows it.
	rememberFailure = 5 * time.Second
)

// waking is a wake that clients see the page of, which goes on between their reloads.
type waking struct {
	done chan struct{} // closed when the fields below stand
	err  error
	at   time.Time
}

// showPage waits a little for the service and answers with the waiting page if
// it is not ready by then. The page is a 503 with Retry-After, because it is
// not what the URL stands for: nothing keeps or indexes it. An error is that of
// the wake.
func (r *Router) showPage(ctx context.Context, w http.ResponseWriter, v visit) (shown bool, err error) {
	wake, err := r.wakeMeanwhile(v)
	if err != nil {
		return false, err
	}
	grace := time.NewTimer(pageGrace)
	defer grace.Stop()
	select {
	case <-wake.done:
		return false, wake.err
	case <-ctx.Done():
		return false, whyNot(ctx, v, ctx.Err(), nil)
	case <-grace.C:
	}
	r.counters.outcomes[OutcomePage].Add(1)
	var page bytes.Buffer
	if err := waitingPage.Execute(&page, v.name); err != nil {
		return false, err
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	if _, err := w.Write(page.Bytes()); err != nil {
		r.log.Debug("Client left", "service", v.name, "error", err)
	}
	return true, nil
}

// wakeMeanwhile joins or begins the wake of a service that nobody's open
// request stands for.
func (r *Router) wakeMeanwhile(v visit) (*waking, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open.Err() != nil {
		return nil, errClosing
	}
	if wake, ok := r.waking[v.name]; ok && !wake.stale() {
		return wake, nil
	}
	wake := &waking{done: make(chan struct{})}
	r.waking[v.name] = wake
	r.background.Go(func() {
		defer r.waker.Hold(v.name)()
		ctx, cancel := r.patience(context.Background(), v)
		defer cancel(nil)
		_, err := r.waker.WakeForRequest(ctx, v.name, v.cause)
		if err != nil {
			err = whyNot(ctx, v, err, nil)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		wake.err, wake.at = err, time.Now()
		close(wake.done)
		if err == nil {
			delete(r.waking, v.name)
		}
	})
	return wake, nil
}

// stale says whether a wake ended so long ago that a new one is due.
func (w *waking) stale() bool {
	select {
	case <-w.done:
		return time.Since(w.at) > rememberFailure
	default:
		return false
	}
}

var waitingPage = template.Must(template.New("waiting").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="1">
<title>{{.}} is starting</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;margin:0;color-scheme:light dark}</style>
<main><h1>{{.}} is starting</h1><p>This page opens it as soon as it is ready.</p></main>
</html>
`))
