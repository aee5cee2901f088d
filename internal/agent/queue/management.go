package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/httpclient"
)

const (
	// managedLateDefault is the period in which queues report to the management API.
	managedLateDefault = 5 * time.Second
	managedBytesMax    = 4 << 20
)

// managed asks the management API, the only one that knows of unacknowledged messages.
type managed struct {
	http           *http.Client
	base           string
	vhost          string
	user, password string
	count          Count
}

func newManaged(c Config) *managed {
	m := &managed{base: strings.TrimRight(c.Management, "/"), vhost: "/", count: c.Count}
	if uri, err := amqp.ParseURI(c.AMQP); err == nil {
		m.vhost, m.user, m.password = uri.Vhost, uri.Username, uri.Password
	}
	transport := c.BrokerHTTP
	if transport == nil {
		transport = httpclient.Direct(c.AMQPTLS)
	}
	m.http = httpclient.New(transport)
	return m
}

// managedQueue is what the API says of a queue. Numbers are absent until the queue has reported, as
// after a restart of the broker, and when statistics are switched off.
type managedQueue struct {
	State   string `json:"state"`
	Ready   *int64 `json:"messages_ready"`
	Unacked *int64 `json:"messages_unacknowledged"`
}

// depth counts the messages of a queue, all as of one moment.
func (m *managed) depth(ctx context.Context, queue string) (int64, error) {
	address := m.base + "/api/queues/" + url.PathEscape(m.vhost) + "/" + url.PathEscape(queue)
	fail := func(kind epu.Kind, format string, args ...any) error {
		return epu.E(kind, "ask", m.base, fmt.Errorf(format, args...))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, fail(epu.Invalid, "the address is none that can be asked")
	}
	req.SetBasicAuth(m.user, m.password)
	resp, err := m.http.Do(req)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return 0, fail(epu.Unavailable, "%w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, managedBytesMax))
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return 0, fail(epu.NotFound, "no queue %q in vhost %q", queue, m.vhost)
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return 0, fail(epu.Denied, "the management API answers %d; the user needs the tag monitoring", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return 0, fail(epu.Unavailable, "the management API answers %d", resp.StatusCode)
	case err != nil:
		return 0, fail(epu.Unavailable, "the answer broke off")
	}
	var q managedQueue
	if err := json.Unmarshal(body, &q); err != nil {
		return 0, fail(epu.Invalid, "the answer is not that of the management API")
	}
	return q.counted(m.count, fail)
}

func (q managedQueue) counted(count Count, fail func(epu.Kind, string, ...any) error) (int64, error) {
	switch q.State {
	case "", "running", "idle", "flow", "syncing":
	default:
		return 0, fail(epu.Unavailable, "the queue is %s", q.State)
	}
	if q.Ready == nil || q.Unacked == nil || *q.Ready < 0 || *q.Unacked < 0 || *q.Ready+*q.Unacked < 0 { // the sum may overflow
		return 0, fail(epu.Unavailable, "the queue has not reported its messages yet")
	}
	switch count {
	case CountUnacked:
		return *q.Unacked, nil
	case CountTotal:
		return *q.Ready + *q.Unacked, nil
	}
	return *q.Ready, nil
}
