//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	"edgespawner/test/stand"
)

func TestAFreshSubdomainThatSleepsAnswersWithACertificateOfTheACMEServer(t *testing.T) {
	for _, challenge := range []string{"http", "tls"} {
		t.Run(challenge, func(t *testing.T) {
			s := stand.Start(t, stand.WithACME(challenge))
			shop := s.MockApp("shop", "shop.test")
			shop.Route.TLS = true
			s.Deploy(shop)
			s.Sleep("shop")

			answer := s.Do(stand.Request{Host: "shop.test", TLS: true}).MustBe(200).MustContain("hostname: shop-0")
			s.ACME.IssuedBy(answer, "shop.test")

			redirect := s.Get("shop.test", "/x?y=1").MustBe(302)
			want := fmt.Sprintf("https://shop.test:%s/x?y=1", s.Edges[0].TLSPort())
			if got := redirect.Header.Get("Location"); got != want {
				t.Errorf("got a redirect to %q, want %q", got, want)
			}
		})
	}
}
