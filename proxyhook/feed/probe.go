package feed

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"edgespawner/proxyhook"
)

const (
	probeTimeout = 2 * time.Second
	idleProbe    = 15 * time.Second // keeps the connection to the entry point open
	calmStep     = 10 * time.Millisecond
	slowestStep  = 250 * time.Millisecond
	vainStep     = 5 * time.Second // at an entry point that proves nothing
	minGrace     = 250 * time.Millisecond
	gracePerKB   = 2 * time.Millisecond // of document; Traefik takes 1.2 at most
)

// point is one public entry point of one edge. It is guarded by Feed.mu.
type point struct {
	name    string
	url     *url.URL // nil = unknown
	client  *http.Client
	applied *offer // the newest one proved, or assumed
	proved  bool   // its URL has answered with a document of ours
	vain    string // why its answers prove nothing; empty = they do
	nudge   chan struct{}
	done    chan struct{} // closed when the edge is forgotten
	running bool
	askedAt time.Time
}

func (f *Feed) newPoint(name string) *point {
	if name == "" {
		name = "web"
	}
	// One connection is kept open, so that a proof costs no handshake.
	transport := &http.Transport{
		DialContext:         f.config.dial,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     2 * time.Minute,
		DisableCompression:  true,
		// What answers is known by the hash that it echoes; before the edge has a
		// certificate for this name, and it never will, there is nothing to verify.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: f.config.Settings.ProbeHost},
	}
	return &point{
		name: name, nudge: make(chan struct{}, 1), done: make(chan struct{}),
		client: &http.Client{
			Transport: transport, Timeout: probeTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (p *point) setURL(address *url.URL) {
	p.url, p.proved, p.vain = address, false, ""
	p.wake()
}

func (p *point) wake() {
	select {
	case p.nudge <- struct{}{}:
	default:
	}
}

func (p *point) stop() { close(p.done) }

// note says why a confirmation of this entry point is less than a proof.
func (p *point) note() string {
	if p.url == nil {
		return "no URL is known, so that applied means received"
	}
	return p.vain
}

// answer is what a probe found.
type answer struct {
	hash   string // of the document in force; empty = the answer names none
	status int    // 0 = no answer
	err    error
}

// ask makes one request through the entry point.
func (p *point) ask(ctx context.Context, address url.URL, host string) answer {
	address.Path, address.RawPath, address.RawQuery = "/", "", ""
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return answer{err: err}
	}
	request.Host = host
	request.Header.Set("User-Agent", "spawner-probe")
	response, err := p.client.Do(request)
	if err != nil {
		return answer{err: err}
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	if closing := response.Body.Close(); err == nil {
		err = closing
	}
	found := answer{status: response.StatusCode, err: err}
	if found.status == http.StatusNoContent {
		found.hash = response.Header.Get(proxyhook.HeaderConfig)
	}
	return found
}

// prove watches over one entry point until ctx ends.
func (f *Feed) prove(ctx context.Context, e *edge, p *point) {
	defer p.client.CloseIdleConnections()
	timer := time.NewTimer(idleProbe)
	defer timer.Stop()
	for ctx.Err() == nil {
		pause := f.proveOnce(ctx, e, p)
		if pause <= 0 {
			continue
		}
		timer.Reset(pause)
		select {
		case <-p.nudge:
		case <-timer.C:
		case <-p.done:
			return
		case <-ctx.Done():
		}
	}
}

// proveOnce does what is due at an entry point and returns the pause until the next time.
func (f *Feed) proveOnce(ctx context.Context, e *edge, p *point) time.Duration {
	now := time.Now()
	f.mu.Lock()
	f.assumeLocked(e, p, now)
	pause, due := f.dueLocked(e, p, now)
	address := p.url
	f.unlock()
	if !due {
		return pause
	}
	found := p.ask(ctx, *address, f.config.Settings.ProbeHost)
	if ctx.Err() != nil {
		return idleProbe
	}
	now = time.Now()
	f.mu.Lock()
	defer f.unlock()
	p.askedAt = now
	if p.url != address {
		return 0
	}
	f.judgeLocked(e, p, found, now)
	pause, due = f.dueLocked(e, p, now)
	if due {
		return f.stepLocked(e, found, now)
	}
	return pause
}

// dueLocked says whether to ask the entry point now, else when.
func (f *Feed) dueLocked(e *edge, p *point, now time.Time) (pause time.Duration, due bool) {
	target := e.lastServed()
	switch {
	case e.state != stateConnected || target == nil:
		return idleProbe, false
	case p.url == nil && p.applied != target && !target.receivedAt.IsZero():
		return max(grace(target)-now.Sub(target.receivedAt), 0), false
	case p.url == nil:
		return idleProbe, false
	case p.vain != "":
		pause = vainStep - now.Sub(p.askedAt)
		if p.applied != target && !target.receivedAt.IsZero() {
			pause = min(pause, max(grace(target)-now.Sub(target.receivedAt), 0))
		}
		return pause, now.Sub(p.askedAt) >= vainStep
	case p.applied == target:
		pause = idleProbe - now.Sub(p.askedAt)
		return pause, pause <= 0
	default:
		if !e.turn(p, target) {
			return idleProbe, false
		}
		// It hardly ever takes less than half of what it usually takes, and a
		// probe takes time from the edge that it could be faster with.
		pause = e.pace/2 - now.Sub(target.servedAt)
		return pause, pause <= 0
	}
}

// turn says whether the entry points before this one are done with an offer:
// they change over together, or nearly so.
func (e *edge) turn(p *point, target *offer) bool {
	for _, before := range e.points {
		if before == p {
			return true
		}
		if before.url != nil && before.vain == "" && before.applied != target {
			return false
		}
	}
	return true
}

// stepLocked returns the pause between two probes: an eighth of the time that has passed.
func (f *Feed) stepLocked(e *edge, found answer, now time.Time) time.Duration {
	least := time.Millisecond
	if f.waiting == 0 || found.status == 0 {
		least = calmStep
	}
	return min(max(now.Sub(e.lastServed().servedAt)/8, least), slowestStep)
}

// assumeLocked takes what was received for applied where no proof can be had.
func (f *Feed) assumeLocked(e *edge, p *point, now time.Time) {
	target := e.lastServed()
	if (p.url != nil && p.vain == "") || target == nil || p.applied == target || e.state != stateConnected {
		return
	}
	if target.receivedAt.IsZero() || now.Sub(target.receivedAt) < grace(target) {
		return
	}
	p.applied = target
	f.appliedLocked(e)
}

// grace is how long after its poll a document surely is in force.
func grace(o *offer) time.Duration {
	return minGrace + gracePerKB*time.Duration(len(o.body)/1024)
}

// judgeLocked draws the conclusions from an answer.
func (f *Feed) judgeLocked(e *edge, p *point, found answer, now time.Time) {
	target := e.lastServed()
	if found.hash != "" {
		p.proved = true
		if target != nil && found.hash == target.hash {
			p.vain = ""
		}
		f.provedLocked(e, p, found.hash)
	}
	if target == nil || p.applied == target || p.vain != "" || target.receivedAt.IsZero() {
		return
	}
	limit := refusalTime
	if target.late && target.step != 0 {
		limit = trialTime
	}
	if now.Sub(target.receivedAt) < limit {
		return
	}
	// 502 and its like come from a probe router that is in force.
	denied := found.hash != "" || (found.status != 0 && found.status < 500 && (p.proved || target.late))
	elsewhere := false
	for _, other := range e.points {
		elsewhere = elsewhere || (other != p && other.url != nil && other.vain == "" && other.applied == target)
	}
	if denied && !elsewhere {
		f.refusedLocked(e, target)
		return
	}
	p.vain = found.why()
	e.wakePoints()
	f.log.Warn("Cannot prove what an edge applies", "edge", e.name, "entry_point", p.name, "error", p.vain)
	f.eventLocked("", "Edge %s: entry point %s proves nothing: %s", e.name, p.name, p.vain)
	f.assumeLocked(e, p, now)
}

// why says what is wrong with an answer that names no document of ours.
func (a answer) why() string {
	switch {
	case a.status == 0:
		return fmt.Sprintf("its URL does not answer: %v", a.err)
	case a.hash != "":
		return "it keeps an older document, unlike the edge's other entry point"
	case a.status >= 500:
		return fmt.Sprintf("it cannot reach the fallback router (status %d)", a.status)
	default:
		return fmt.Sprintf("its URL seems to lead elsewhere (status %d)", a.status)
	}
}

// provedLocked notes that the document with that hash is in force.
func (f *Feed) provedLocked(e *edge, p *point, hash string) {
	for i := len(e.history) - 1; i >= 0; i-- {
		o := e.history[i]
		if o.hash != hash {
			continue
		}
		if p.applied == nil || e.index(p.applied) < i {
			p.applied = o
			e.wakePoints()
			f.appliedLocked(e)
		}
		return
	}
}
