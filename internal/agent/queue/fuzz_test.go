package queue

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Goal: whatever the broker's management API answers, a depth is a number of messages or unknown with a
// reason, never 0 for what is not known. Method: any status and body, for each way to count.
func FuzzManagement(f *testing.F) {
	for _, body := range []string{
		`{"messages_ready":3,"messages_unacknowledged":4,"state":"running"}`, `{"messages_ready":3}`, `{}`, ``, `null`, `[]`,
		`{"messages_ready":-1,"messages_unacknowledged":4}`, `{"messages_ready":1e3,"messages_unacknowledged":4}`, `{"state":"down"}`,
		`{"messages_ready":9223372036854775807,"messages_unacknowledged":9223372036854775807}`, `{"messages_ready":"3","messages_unacknowledged":4}`,
	} {
		f.Add(0, body)
	}
	type said struct {
		status int
		body   string
	}
	var answer atomic.Pointer[said]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a := answer.Load()
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
	}))
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, status int, body string) {
		code := []int{200, 200, 200, 204, 302, 401, 404, 500}[uint(status)%8]
		answer.Store(&said{code, body})
		for _, count := range []Count{CountReady, CountUnacked, CountTotal} {
			m := newManaged(Config{Management: server.URL, AMQP: "amqp://guest:guest@127.0.0.1:5672/", Count: count, BrokerHTTP: server.Client().Transport})
			n, err := m.depth(t.Context(), "jobs")
			if n < 0 || err != nil && n != 0 {
				t.Fatalf("%v: got %d, %v out of %d %q", count, n, err, code, body)
			}
			if err == nil && (code != http.StatusOK || !strings.Contains(strings.ToLower(body), "messages_") && !strings.Contains(body, `\u`)) {
				t.Fatalf("%v: got %d out of %d %q", count, n, code, body)
			}
		}
	})
}
