package stand

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Reachable says whether a container on the network gets any HTTP answer from
// url. It starts a mock-app there and lets it report an id to that URL.
func Reachable(t T, network, url string) bool {
	t.Helper()
	id := Docker(t, "run", "-d", "--rm", "--network", network, "-e", "IDS_URL="+url, MockAppImage)
	defer Docker(t, "rm", "-f", id)
	address := Inspect(t, id, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	client := http.Client{Timeout: requestTime}
	status := 0
	Eventually(t, requestTime, "the prober answers", func() error {
		response, err := client.Post(fmt.Sprintf("http://%s:%d/ids", address, appPort), "text/plain", strings.NewReader(time.Now().String()))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		status = response.StatusCode
		return nil
	})
	return status == http.StatusOK
}
