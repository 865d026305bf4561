package feed

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
)

// offer is one document for one edge. Its fields below body are guarded by
// Feed.mu; a later snapshot that renders to the same document moves its version on.
type offer struct {
	seq  uint64 // order of making, over all edges
	base string // the hash as rendered
	hash string // what the edge proves it by: base, or base.N where it may hold base already
	body []byte
	gzip func() []byte

	version uint64          // newest snapshot that it stands for
	picture *fleet.Snapshot // what was rendered: the snapshot, or one with services held back
	leftOut map[string]bool // services of picture without routers
	pending map[string]bool // services held back until a trial ends
	step    int             // of the trial that it belongs to; 0 = none

	bornAt     time.Time // of the first change in it
	servedAt   time.Time // zero = no connection has got it
	receivedAt time.Time // zero = not every connection has polled past it
	late       bool      // that poll came late, as after a refusal
	refused    bool
}

// newOffer makes an offer of a document. A number other than zero makes its hash unlike base.
func newOffer(seq uint64, document *proxyhook.Document, number uint64) *offer {
	o := &offer{seq: seq, base: document.Hash, hash: document.Hash, body: document.JSON}
	if number != 0 {
		o.hash = document.Hash + "." + strconv.FormatUint(number, 10)
		o.body = bytes.ReplaceAll(document.JSON, []byte(document.Hash), []byte(o.hash))
	}
	o.gzip = sync.OnceValue(func() []byte { return compress(o.body) })
	return o
}

func compress(body []byte) []byte {
	var buffer bytes.Buffer
	writer, err := gzip.NewWriterLevel(&buffer, gzip.BestSpeed)
	if err != nil {
		panic("gzip: " + err.Error()) // the level is a constant
	}
	// A bytes.Buffer takes everything.
	_, _ = writer.Write(body)
	_ = writer.Close()
	return buffer.Bytes()
}

// install makes document what the edge is offered next, or finds that it is
// being offered already. It says whether there is something new to serve.
func (f *Feed) installLocked(e *edge, document *proxyhook.Document, made job) {
	o := e.current
	switch {
	case o != nil && o.base == document.Hash:
	case e.lastServed() != nil && e.lastServed().base == document.Hash:
		o = e.lastServed() // the change was taken back before the edge saw it
	default:
		f.seq++
		number := uint64(0)
		if e.mayHold(document.Hash) {
			number = f.seq
		}
		o = newOffer(f.seq, document, number)
		o.bornAt = made.bornAt
	}
	o.version, o.picture, o.leftOut, o.pending, o.step = made.version, made.picture, made.view.LeftOut, made.pending, made.step
	if o != e.current {
		e.current = o
		close(e.fresh)
		e.fresh = make(chan struct{})
	}
	if made.view.ACME {
		f.ledger.offered(made.trying, o)
	}
	f.appliedLocked(e)
	f.progressLocked()
}
