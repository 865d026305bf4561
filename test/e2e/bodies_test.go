//go:build e2e

package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"edgespawner/test/stand"
)

const mega = 1 << 20

// upload posts so many random bytes to a host's /upload and fails the test
// unless the app got each of them. Chunked says nothing of the length beforehand.
func upload(t *testing.T, s *stand.Stand, host string, size int64, chunked bool) {
	t.Helper()
	sum := sha256.New()
	body := io.TeeReader(io.LimitReader(rand.Reader, size), sum)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+host+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	if !chunked {
		request.ContentLength = size
	}
	transport := s.Edges[0].Transport()
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("uploading %d bytes to %s: %v", size, host, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("uploading %d bytes to %s: %d %s %v", size, host, response.StatusCode, answer, err)
	}
	var got struct {
		Bytes  int64  `json:"bytes"`
		SHA256 string `json:"sha256"`
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		t.Fatal(err)
	}
	if want := hex.EncodeToString(sum.Sum(nil)); got.Bytes != size || got.SHA256 != want {
		t.Errorf("the app of %s got %d bytes of sum %s, want %d of %s", host, got.Bytes, got.SHA256, size, want)
	}
}

func TestBodiesOfEverySizeArriveWholeAwakeAndThroughAWake(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	uploads := []struct {
		size    int64
		chunked bool
	}{
		{size: 1000}, {size: mega}, {size: mega, chunked: true}, {size: 50 * mega, chunked: true},
	}
	names := make([]string, len(uploads))
	for i := range uploads {
		names[i] = fmt.Sprintf("up%c", 'a'+i)
		s.Deploy(s.MockApp(names[i], names[i]+".test"))
	}
	for i, u := range uploads {
		upload(t, s, names[i]+".test", u.size, u.chunked)
	}
	sleepAll(t, s, names...)
	for i, u := range uploads {
		upload(t, s, names[i]+".test", u.size, u.chunked)
		if wakes := s.Wakes(names[i]); len(wakes) != 1 {
			t.Errorf("%s: %d wakes, want 1", names[i], len(wakes))
		}
	}
}

func TestALargeUploadIsNotReadIntoTheMemoryOfEdgeOrSpawner(t *testing.T) {
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	s.Deploy(app)
	s.Sleep("web")
	const most = 120 << 10 // KiB more than before
	for _, state := range []string{"through a wake", "awake"} {
		edge, spawner := s.Edges[0].Memory(), s.Spawner.Memory()
		upload(t, s, "web.test", 500*mega, false)
		if grown := s.Edges[0].Memory() - edge; grown > most {
			t.Errorf("%s: the edge grew by %d KiB", state, grown)
		}
		if grown := s.Spawner.Memory() - spawner; grown > most {
			t.Errorf("%s: the spawner grew by %d KiB", state, grown)
		}
	}
}

func TestAFormPostedToASleeperIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	app := s.MockApp("web", "web.test")
	app.Env["IDS_URL"] = secret(collector.URL)
	s.Deploy(app)
	s.Sleep("web")
	together(t, 20, func(i int) {
		s.Post("web.test", "/ids", fmt.Sprintf("order-%d", i)).MustBe(200)
	})
	counts := collector.Counts()
	for i := range 20 {
		if id := fmt.Sprintf("order-%d", i); counts[id] != 1 {
			t.Errorf("%s was carried out %d times", id, counts[id])
		}
	}
	if !strings.Contains(s.Get("web.test", "/ids").MustBe(200).Body, `"order-19":1`) {
		t.Error("the app has not counted order-19")
	}
}
