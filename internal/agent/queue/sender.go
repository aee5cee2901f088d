package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/httpclient"
)

const answerBytesMax = 64 << 10

// sayAgain is when a failure that lasts is said again: a line of hours ago is no help to who looks now.
const sayAgain = 5 * time.Minute

// sender brings readings to nodes. Any node takes them; the one that took the last is asked first.
type sender struct {
	conf    Config
	http    *http.Client
	current int
	said    string // the failure as last logged; empty after a success
	saidAt  time.Time
}

func newSender(c Config) *sender {
	transport := c.Transport
	if transport == nil {
		transport = httpclient.Direct(nil)
	}
	return &sender{conf: c, http: httpclient.New(transport)}
}

// send tells whether a node has taken the readings.
func (s *sender) send(ctx context.Context, push *msg.SensorPush) bool {
	var why error
	for i := range s.conf.Nodes {
		at := (s.current + i) % len(s.conf.Nodes)
		err := s.post(ctx, s.conf.Nodes[at], push)
		if err == nil {
			if s.said != "" || at != s.current {
				s.conf.Log.Info("a node takes the readings", "node", s.conf.Nodes[at])
			}
			s.current, s.said = at, ""
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		why = errors.Join(why, fmt.Errorf("%s: %w", s.conf.Nodes[at], err))
	}
	now := s.conf.Now()
	if text := strings.ReplaceAll(why.Error(), "\n", "; "); text != s.said || now.Sub(s.saidAt) >= sayAgain {
		s.said, s.saidAt = text, now
		s.conf.Log.Warn("no node takes the readings", "error", text, "try", s.advice(why))
	}
	return false
}

// advice says what to do about readings that no node takes. The agent goes on by itself in any case.
func (s *sender) advice(why error) string {
	if errors.Is(why, errNotFound) {
		return "apply the pool " + string(s.conf.Pool) + " with its sensors, or name another: pool in the configuration, or --pool; this agent goes on trying"
	}
	return "look whether the nodes run and can be reached from here; this agent goes on trying"
}

// errNotFound is a node's answer that it lacks the pool or the sensor.
var errNotFound = errors.New("404")

func (s *sender) post(ctx context.Context, node string, push *msg.SensorPush) error {
	ctx, cancel := context.WithTimeout(ctx, sendMax)
	defer cancel()
	body, err := protojson.Marshal(push)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"type": "SensorPush", "body": json.RawMessage(body)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(node, "/")+"/v1/command", bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-EPU-User", s.conf.User)
	resp, err := s.http.Do(req)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if resp.StatusCode == http.StatusOK {
		return nil // it is taken, whatever became of the answer's end
	}
	if err != nil {
		answer = nil
	}
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("the node answers %w %s", errNotFound, reason(answer))
	}
	return fmt.Errorf("the node answers %d %s", resp.StatusCode, reason(answer))
}

// reason is what a node's error document says, in one line.
func reason(answer []byte) string {
	var document struct {
		Error struct {
			Text string `json:"text"`
		} `json:"error"`
	}
	text := string(answer)
	if json.Unmarshal(answer, &document) == nil && document.Error.Text != "" {
		text = document.Error.Text
	}
	const most = 300
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return fmt.Sprintf("%q", text)
}
