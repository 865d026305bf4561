package feed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
)

func secure(name string, revision int) fleet.Routed {
	return fleet.Routed{Name: name, Revision: revision, Spec: &fleet.Spec{
		Name: name, Image: name, Route: &fleet.Route{Hosts: []string{name + ".example.com"}, TLS: true},
	}}
}

func TestAHostWithoutACertificateCostsOneOrderAPause(t *testing.T) {
	play(t, func(t *testing.T) {
		s := open(t, Config{Settings: proxyhook.Settings{CertResolver: "le"}, Edges: []EdgeAddress{{Name: "main", Web: "http://main:80"}}})
		edge := (&traefik{stage: s, name: "main", pause: 5 * time.Second}).start()
		s.confirmed(s.putRouted(secure("blog", 1)))
		begun := time.Now()
		// Never at the very moment at which a pause ends: until the edge has applied
		// the document that orders, the next one must name the resolver too.
		time.Sleep(30 * time.Second)
		for i := range 2 * 60 {
			s.confirmed(s.put("shop", "shop", i+1))
			time.Sleep(time.Minute)
		}
		orders, last := 0, false
		for _, document := range edge.fetched() {
			ordered := slices.Contains(document.ACME, "blog")
			if ordered && !last {
				orders++
			}
			if ordered && last {
				t.Errorf("a document of something else orders again: %v", document)
			}
			last = ordered
		}
		// At 0, 16, 47 and 108 minutes.
		if orders != 4 {
			t.Errorf("%d orders in %s, want 4", orders, time.Since(begun))
		}
		if why := s.feed.Why("blog"); len(why) > 1 {
			t.Errorf("why: %v", why)
		}
	})
}

func TestANewRevisionIsTriedSooner(t *testing.T) {
	l := newLedger("le")
	publish := func(revision int) { l.reconcile(&fleet.Snapshot{Services: []fleet.Routed{secure("blog", revision)}}) }
	start := time.Unix(0, 0)
	publish(1)
	o := l.orders["blog"]
	o.state, o.since, o.until, o.failures = orderResting, start, start.Add(31*time.Minute), 2
	publish(1)
	if _, trying := l.view(start.Add(12 * time.Minute)); len(trying) != 0 {
		t.Error("the same revision is tried before its pause is over")
	}
	publish(2)
	if _, trying := l.view(start.Add(9 * time.Minute)); len(trying) != 0 {
		t.Error("a new revision is tried at once")
	}
	if _, trying := l.view(start.Add(10 * time.Minute)); len(trying) != 1 {
		t.Error("a new revision is not tried sooner")
	}
}

func TestPausesBetweenOrdersGrow(t *testing.T) {
	var got []time.Duration
	for failures := range 8 {
		got = append(got, rest(failures+1)/time.Minute)
	}
	if want := []time.Duration{15, 30, 60, 120, 240, 360, 360, 360}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestACertificateThatIsThereEndsItsOrder(t *testing.T) {
	f := New(Config{Settings: proxyhook.Settings{CertResolver: "le"}})
	o := &order{hosts: []string{"blog.example.com"}, state: orderWatched, since: time.Unix(0, 0)}
	f.ledger.orders["blog"] = o
	f.enterLocked("blog", o, nil, false, time.Unix(2, 0))
	if o.state != orderCertified {
		t.Errorf("it is %s", o.state)
	}
	f.enterLocked("blog", o, errUnseen, true, time.Unix(600, 0))
	if o.state != orderCertified {
		t.Errorf("after a look that came to nothing it is %s", o.state)
	}
	without, trying := f.ledger.view(time.Unix(601, 0))
	if len(without)+len(trying) != 0 {
		t.Errorf("left out: %v, ordered: %v", without, trying)
	}
}

func TestCertifiedWaitsForACertificateThatIsNotTheDefaultOne(t *testing.T) {
	certPEM, keyPEM, err := NewDefaultCertificate()
	if err != nil {
		t.Fatal(err)
	}
	standard, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		t.Fatal(err)
	}
	own := issue(t, "blog.example.com")
	var mu sync.Mutex
	asked := 0
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; hello.ServerName == "blog.example.com" && asked > 2 {
			return own, nil
		}
		return &standard, nil
	}}
	server.StartTLS()
	defer server.Close()
	f := New(Config{
		Settings: proxyhook.Settings{WebSecure: "websecure", CertificatePEM: certPEM, CertResolver: "le"}, ACMEEdge: "main",
		Edges: []EdgeAddress{{Name: "main", WebSecure: server.URL}},
	})
	if err := f.Certified(t.Context(), []string{"blog.example.com"}); err != nil {
		t.Error(err)
	}
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = f.Certified(ctx, []string{"blog.example.com", "shop.example.com"})
	if err == nil || !strings.Contains(err.Error(), "shop.example.com") || strings.Contains(err.Error(), "blog") {
		t.Errorf("got %v", err)
	}
}

func TestCertifiedLooksOnceWhereNobodyIsAskedForACertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	f := New(Config{ACMEEdge: "main", Edges: []EdgeAddress{{Name: "main", WebSecure: server.URL}}})
	err := f.Certified(t.Context(), []string{"blog.test"}) // the server's certificate is for example.com
	if err == nil || !strings.Contains(err.Error(), "blog.test shows a certificate for other names") {
		t.Errorf("got %v", err)
	}
}

func TestCertifiedSaysThatNobodyCanLook(t *testing.T) {
	f := New(Config{Edges: []EdgeAddress{{Name: "main", Web: "http://main"}}, ACMEEdge: "main"})
	if err := f.Certified(t.Context(), []string{"blog.example.com"}); fleet.KindOf(err) != fleet.Unavailable {
		t.Errorf("got %v", err)
	}
}

func issue(t *testing.T, host string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
