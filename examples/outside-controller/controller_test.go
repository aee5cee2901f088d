package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The goal is that the program says a number once and that it lives each time, that it repeats under the same ID what
// a node could not answer, and that it gives up what is refused. Method: a server that answers as a node does.
func TestFollow(t *testing.T) {
	var got []string
	ids := map[string]int{}
	answers := []int{http.StatusServiceUnavailable} // then 200, until it refuses
	refuse := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID, Type string
			Body     json.RawMessage
		}
		raw, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(raw, &m); err != nil || r.Header.Get("X-EPU-User") != "me" || r.URL.Path != "/v1/command" {
			t.Errorf("%s %s by %q: %v", r.URL.Path, raw, r.Header.Get("X-EPU-User"), err)
		}
		ids[m.ID]++
		status := http.StatusOK
		if len(answers) > 0 {
			status, answers = answers[0], answers[1:]
		} else {
			got = append(got, m.Type)
		}
		if refuse {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"text":"done","error":{"text":"no","try":"yes"}}`)
	}))
	defer s.Close()
	var out, log bytes.Buffer
	c := controller{client: s.Client(), node: s.URL, user: "me", pool: "p", per: 20, said: -1, out: &out, log: &log}
	if err := c.follow(context.Background(), strings.NewReader("55\nwhat\n50\n61\n")); err != nil {
		t.Fatal(err)
	}
	if want := "Reconfigure SensorPush SensorPush Reconfigure SensorPush"; strings.Join(got, " ") != want {
		t.Errorf("sent %q, want %s", got, want)
	}
	if !strings.Contains(log.String(), `"what" is no demand`) || c.said != 4 || len(ids) != 5 {
		t.Errorf("said %d with the IDs %v, log %s", c.said, ids, &log)
	}
	refuse = true
	if err := c.follow(context.Background(), strings.NewReader("1\n2\n")); !errors.Is(err, errRefused) || c.said != 4 {
		t.Errorf("refused: %v, said %d", err, c.said)
	}
}

// The goal is that an interrupt ends the program in the pause between two tries, and while it waits for its input.
// Method: virtual time; a node that never answers, then an input that never comes.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		down := roundTrip(func(*http.Request) (*http.Response, error) {
			time.AfterFunc(pauseMin/2, cancel)
			return nil, errors.New("connection refused")
		})
		c := controller{client: &http.Client{Transport: down}, node: "http://node", pool: "p", per: 1, said: -1, out: io.Discard, log: io.Discard}
		if err := c.follow(ctx, strings.NewReader("1\n")); err != nil || time.Since(began) != pauseMin/2 {
			t.Errorf("in the pause: ended after %v with %v, want at once", time.Since(began), err)
		}
		in, end := io.Pipe()
		defer end.Close()
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.follow(ctx, in); err != nil {
			t.Errorf("while it waits: %v", err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
