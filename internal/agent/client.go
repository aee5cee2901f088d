package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/httpclient"
)

const (
	pingTimeout     = 5 * time.Second
	headerBytesMax  = 16 << 10
	serverReasonMax = 200 // bytes of a refusal's text that go into the log
)

// client speaks the agent's HTTP to the nodes. It decides nothing: which node, when and again is core's.
type client struct {
	http  *http.Client
	nodes []string
}

func newClient(nodes []string, transport http.RoundTripper) *client {
	c := &client{http: httpclient.New(transport)}
	for _, n := range nodes {
		c.nodes = append(c.nodes, strings.TrimRight(n, "/"))
	}
	return c
}

// newTransport makes the connections of a real agent: direct, with the site's own authority if it has one.
func newTransport(roots *x509.CertPool) *http.Transport {
	t := httpclient.Direct(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	t.MaxResponseHeaderBytes = headerBytesMax
	// A dead HTTP/2 connection survives its requests' deadlines; only pings find out.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pollWait / 2, PingTimeout: pingTimeout}
	return t
}

// statusError is an answer that is no success.
type statusError struct {
	code   int
	reason string
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the node answers %d %s", e.code, http.StatusText(e.code))
	if e.reason != "" {
		text += ": " + e.reason
	}
	return text
}

// outcomeOf says what a failed request means for the agent.
func outcomeOf(err error) outcome {
	var status *statusError
	if errors.As(err, &status) {
		switch status.code {
		case http.StatusTooEarly:
			return tooEarly
		case http.StatusUnauthorized:
			return denied
		case http.StatusGone:
			return gone
		}
	}
	return away
}

func (c *client) checkIn(ctx context.Context, node int, in msg.CheckIn) (msg.CheckedIn, error) {
	body, err := c.call(ctx, http.MethodPost, c.nodes[node]+msg.AgentCheckInPath, "", in)
	if err != nil {
		return msg.CheckedIn{}, err
	}
	answer, err := decodeCheckedIn(body)
	if err != nil {
		return msg.CheckedIn{}, fmt.Errorf("the node's answer makes no sense: %w", err)
	}
	return answer, nil
}

func (c *client) beat(ctx context.Context, node int, token string, b msg.Beat) (msg.BeatReply, error) {
	return reply(c.call(ctx, http.MethodPost, c.nodes[node]+msg.AgentBeatPath, token, b))
}

func (c *client) poll(ctx context.Context, node int, token, after string) (msg.BeatReply, error) {
	q := url.Values{"wait": {pollWait.String()}}
	if after != "" {
		q.Set("after", after)
	}
	return reply(c.call(ctx, http.MethodGet, c.nodes[node]+msg.AgentCommandsPath+"?"+q.Encode(), token, nil))
}

func reply(body []byte, err error) (msg.BeatReply, error) {
	if err != nil {
		return msg.BeatReply{}, err
	}
	r, err := decodeReply(body)
	if err != nil {
		return msg.BeatReply{}, fmt.Errorf("the node's answer makes no sense: %w", err)
	}
	return r, nil
}

// call makes one request and reads its answer to the end, so that the connection is used again.
func (c *client) call(ctx context.Context, method, url, token string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := readLimited(resp.Body)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return nil, &statusError{code: resp.StatusCode, reason: oneLine(answer)}
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return answer, nil
}

// oneLine makes a stranger's text fit for the log.
func oneLine(body []byte) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, cut(string(body), serverReasonMax))
	return strings.Join(strings.Fields(text), " ")
}
