package web

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

func streamRequest(ctx context.Context, t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/v1/events?pool=epu-web", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", streamType)
	return r
}

// Goal: events arrive one by one as they happen, and an error at the end is told. Method: a real
// connection, on which the second event is sent only when the first was read.
func TestStream(t *testing.T) {
	read := make(chan struct{})
	s := serve(t, New(options(t, &world{watch: func(_ context.Context, q *msg.EventsQuery, send func(proto.Message) error) error {
		if q.GetPool() != "epu-web" {
			t.Errorf("got %v", q)
		}
		if err := send(event("A1", "worker_pending")); err != nil {
			return err
		}
		<-read
		if err := send(event("A2\nid: forged", "worker_running")); err != nil {
			return err
		}
		return epu.E(epu.Unavailable, "read history", "", errors.New("x"))
	}})))
	resp, err := http.DefaultClient.Do(streamRequest(t.Context(), t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got []string
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		if in.Text() != "" {
			got = append(got, in.Text())
		}
		if in.Text() != "" && len(got) == 3 {
			close(read)
		}
	}
	doc := func(id, name string) string {
		return `data: {"schema":"epu/v1","type":"event-record","id":"` + id + `","kind":"event","name":"` + name + `","pool":"epu-web","time":"2026-11-21T14:32:05Z"}`
	}
	want := []string{
		": epu/v1 events", "id: A1", doc("A1", "worker_pending"), doc(`A2\nid: forged`, "worker_running"),
		"event: error", `data: {"schema":"epu/v1","type":"error","error":{"kind":"unavailable","text":"read history: x","op":"read history","why":"x"}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" || resp.Header.Get("Content-Type") != streamType {
		t.Errorf("type %s, -want +got:\n%s", resp.Header.Get("Content-Type"), diff)
	}
}

// Goal: a client that lost its connection misses nothing. Method: the ID of the last event it has seen.
func TestStreamResumes(t *testing.T) {
	const last = "01JD8Z5X9WQK2V7R3M4N5P6Q7T"
	var asked *msg.EventsQuery
	h := New(options(t, &world{watch: func(_ context.Context, q *msg.EventsQuery, send func(proto.Message) error) error {
		asked = q
		return errors.Join(send(event(last, "seen")), send(event("01JD8Z5X9WQK2V7R3M4N5P6Q7V", "new")))
	}}))
	r := fromLoopback(streamRequest(t.Context(), t, "http://127.0.0.1"))
	r.Header.Set("Last-Event-ID", last)
	out := httptest.NewRecorder()
	h.ServeHTTP(out, r)
	if text := out.Body.String(); strings.Contains(text, "seen") || !strings.Contains(text, "new") {
		t.Errorf("got %s", text)
	}
	if at := asked.GetSince().AsTime(); at.Year() < 2024 || asked.GetLimit() != resumeMax {
		t.Errorf("got %v, want events since the ID's time", asked)
	}
}

// fromLoopback makes a request look as if it came to a listener on loopback.
func fromLoopback(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7421}))
}

// Goal: a quiet stream shows that it lives, ends with Drain, and streams are bounded. Method: a bubble's
// time, and one stream too many.
func TestQuietStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(t, &world{watch: func(ctx context.Context, _ *msg.EventsQuery, _ func(proto.Message) error) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		o.StreamsMax = 1
		h := New(o)
		out := httptest.NewRecorder()
		over := make(chan struct{})
		go func() {
			defer close(over)
			h.ServeHTTP(out, fromLoopback(streamRequest(t.Context(), t, "http://127.0.0.1")))
		}()
		synctest.Wait()
		second := httptest.NewRecorder()
		h.ServeHTTP(second, fromLoopback(streamRequest(t.Context(), t, "http://127.0.0.1")))
		if second.Code != 429 {
			t.Errorf("a second stream: got %d, want 429", second.Code)
		}
		time.Sleep(4*streamPing + time.Second)
		h.Drain()
		<-over
		if got := strings.Count(out.Body.String(), ": ping\n\n"); got != 4 {
			t.Errorf("got %d pings in a minute, want 4", got)
		}
		third := httptest.NewRecorder()
		h.ServeHTTP(third, fromLoopback(streamRequest(t.Context(), t, "http://127.0.0.1")))
		if third.Code != 503 {
			t.Errorf("a stream while stopping: got %d, want 503", third.Code)
		}
	})
}

// Goal: a client that goes away ends its watch, and so does a panic behind a stream. Method: cancel a
// real request; the test ends only if the watch does.
func TestStreamEndsWithItsClient(t *testing.T) {
	over := make(chan error, 1)
	w := &world{watch: func(ctx context.Context, _ *msg.EventsQuery, send func(proto.Message) error) error {
		err := send(event("A1", "x"))
		<-ctx.Done()
		over <- err
		return ctx.Err()
	}}
	s := serve(t, New(options(t, w)))
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := http.DefaultClient.Do(streamRequest(ctx, t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-over; err != nil {
		t.Errorf("got %v", err)
	}
	_ = resp.Body.Close()
	w.watch = func(context.Context, *msg.EventsQuery, func(proto.Message) error) error { panic("x") }
	resp, err = http.DefaultClient.Do(streamRequest(t.Context(), t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}
