package relay_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/relay"
)

// These tests run the real server and the real client over loopback; only the router is scripted.

// router answers with functions of the test.
type router struct {
	ask   func(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error)
	watch func(ctx context.Context, req *msg.Request, body proto.Message, send func(proto.Message) error) error
}

func (r router) Ask(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
	return r.ask(ctx, req, body)
}

func (r router) Watch(ctx context.Context, req *msg.Request, body proto.Message, send func(proto.Message) error) error {
	return r.watch(ctx, req, body, send)
}

// node starts a server and gives a client of it.
func node(t *testing.T, address string, r relay.Router, opts relay.Options) (*relay.Client, *relay.Server) {
	t.Helper()
	l, err := relay.Listen(t.Context(), address, relay.Protection{})
	if err != nil {
		t.Fatal(err)
	}
	s := relay.NewServer(r, opts)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Stop(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	target := l.Addr().String()
	if strings.HasPrefix(address, "unix:") {
		target = address
	}
	return dial(t, target), s
}

func dial(t *testing.T, target string) *relay.Client {
	t.Helper()
	var ids atomic.Int64
	c, err := relay.Dial(target, relay.ClientOptions{
		User: "anna", Client: "test 1", NewID: func() string { return "id-" + strconv.FormatInt(ids.Add(1), 10) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAskCarriesTheRequestAndTheAnswer(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		var got *msg.Request
		c, _ := node(t, address, router{ask: func(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error) {
			got = req
			scale := body.(*msg.Scale)
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the router's context has no deadline")
			}
			return &msg.Done{Changed: true, Text: scale.GetPool() + " " + strconv.Itoa(int(scale.GetN()))}, nil
		}}, relay.Options{})
		done, err := relay.Ask[*msg.Done](t.Context(), c, &msg.Scale{Pool: "epu-web", N: 7})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&msg.Done{Changed: true, Text: "epu-web 7"}, done, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if got.GetId() != "id-1" || got.GetUser() != "anna" || got.GetClient() != "test 1" || got.GetFrom() == "" && address[0] == '1' {
			t.Errorf("got request %v, want id-1 of anna with test 1 from somewhere", got)
		}
	}
}

func TestErrorsKeepTheirKindAndParts(t *testing.T) {
	var fail error
	c, _ := node(t, "127.0.0.1:0", router{ask: func(context.Context, *msg.Request, proto.Message) (proto.Message, error) {
		return nil, fail
	}}, relay.Options{})
	for k := epu.Internal; k <= epu.Unavailable; k++ {
		fail = &epu.Error{Kind: k, Op: "scale", On: "epu-web", Err: errors.New("because"), Try: "something else"}
		_, err := relay.Ask[*msg.Done](t.Context(), c, &msg.Scale{})
		if epu.KindOf(err) != k || err.Error() != fail.Error() || epu.TryOf(err) != "something else" {
			t.Errorf("sent %v of kind %v, got %v of kind %v, try %q", fail, k, err, epu.KindOf(err), epu.TryOf(err))
		}
	}
	fail = &msg.Refusal{Err: epu.E(epu.Invalid, "apply", "2 files", errors.New("2 problems")), List: []*msg.Problem{
		{File: "a.yaml", Line: 3, Text: "unknown key"}, {File: "b.yaml", Line: 9, Text: "no unit"},
	}}
	_, err := relay.Ask[*msg.Applied](t.Context(), c, &msg.Apply{})
	var refusal *msg.Refusal
	if !errors.As(err, &refusal) || len(refusal.List) != 2 || refusal.List[1].GetLine() != 9 || epu.KindOf(err) != epu.Invalid {
		t.Errorf("sent %v, got %#v", fail, err)
	}
}

func TestUnknownMessagesAreRefused(t *testing.T) {
	c, _ := node(t, "127.0.0.1:0", router{ask: func(context.Context, *msg.Request, proto.Message) (proto.Message, error) {
		t.Error("the router was asked")
		return &msg.Done{}, nil
	}}, relay.Options{})
	_, err := relay.Ask[*msg.Done](t.Context(), c, wrapperspb.String("x"))
	if epu.KindOf(err) != epu.Invalid || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("got %v, want a refusal of kind invalid", err)
	}
}

func TestAPanicIsOneFailedRequest(t *testing.T) {
	first := true
	c, _ := node(t, "127.0.0.1:0", router{ask: func(context.Context, *msg.Request, proto.Message) (proto.Message, error) {
		if first {
			first = false
			panic("boom")
		}
		return &msg.Version{Version: "1"}, nil
	}}, relay.Options{})
	if _, err := relay.Ask[*msg.Version](t.Context(), c, &msg.VersionQuery{}); epu.KindOf(err) != epu.Internal || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v, want an internal error that names the panic", err)
	}
	if v, err := relay.Ask[*msg.Version](t.Context(), c, &msg.VersionQuery{}); err != nil || v.GetVersion() != "1" {
		t.Errorf("got %v, %v after the panic, want version 1", v, err)
	}
}

func TestDeadlinesAndSizes(t *testing.T) {
	c, _ := node(t, "127.0.0.1:0", router{ask: func(ctx context.Context, _ *msg.Request, body proto.Message) (proto.Message, error) {
		if _, ok := body.(*msg.TerminateAll); ok {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &msg.Done{Text: strings.Repeat("x", 1<<20)}, nil
	}}, relay.Options{MessageBytesMax: 1 << 16, DeadlineMax: time.Millisecond})
	if _, err := relay.Ask[*msg.Done](t.Context(), c, &msg.TerminateAll{}); epu.KindOf(err) != epu.UnknownOutcome {
		t.Errorf("got %v, want an unknown outcome", err)
	}
	for _, body := range []proto.Message{&msg.Thaw{}, &msg.Kill{Reason: strings.Repeat("x", 1<<17)}} {
		if _, err := relay.Ask[*msg.Done](t.Context(), c, body); epu.KindOf(err) != epu.Invalid || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: got %v, want too large", relay.NameOf(body), err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	_, err = relay.Ask[*msg.Status](t.Context(), dial(t, l.Addr().String()), &msg.StatusQuery{})
	if epu.KindOf(err) != epu.Unavailable || !strings.Contains(err.Error(), "connection refused") || epu.TryOf(err) == "" {
		t.Errorf("got %v with try %q, want unavailable with advice", err, epu.TryOf(err))
	}
	for _, bad := range []string{"", "host", "http://x:1"} {
		if _, err := relay.Dial(bad, relay.ClientOptions{}); epu.KindOf(err) != epu.Invalid {
			t.Errorf("Dial(%q) gave %v, want invalid", bad, err)
		}
	}
}

func TestListenRefusesStrangersWithoutTLS(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:7420", "[::ffff:192.0.2.1]:1"} {
		if _, err := relay.Listen(t.Context(), address, relay.Protection{}); epu.KindOf(err) != epu.Denied || epu.TryOf(err) == "" {
			t.Errorf("Listen(%q) gave %v, want denied with advice", address, err)
		}
		if err := relay.Allowed(t.Context(), address, relay.Protection{Insecure: true}); err != nil {
			t.Errorf("Allowed(%q, insecure) gave %v", address, err)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "127.9.8.7:0", "localhost:0"} {
		l, err := relay.Listen(t.Context(), address, relay.Protection{})
		if err != nil {
			t.Errorf("Listen(%q) gave %v", address, err)
			continue
		}
		if _, err := relay.Listen(t.Context(), l.Addr().String(), relay.Protection{}); epu.KindOf(err) != epu.Conflict {
			t.Errorf("second Listen(%q) gave %v, want a conflict", address, err)
		}
		_ = l.Close()
	}
}

// A dead process leaves its socket file; a living one answers on it.
func TestUnixSocketIsTakenOverOnlyFromTheDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := relay.Listen(t.Context(), "unix:"+path, relay.Protection{})
	if err != nil {
		t.Fatalf("take over from the dead: %v", err)
	}
	defer l.Close()
	if _, err := relay.Listen(t.Context(), "unix:"+path, relay.Protection{}); epu.KindOf(err) != epu.Conflict {
		t.Errorf("take over from the living: got %v, want a conflict", err)
	}
}

// A path that was mistyped may name a file that somebody needs.
func TestUnixSocketReplacesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "epud.yaml")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := relay.Listen(t.Context(), "unix:"+path, relay.Protection{}); epu.KindOf(err) != epu.Conflict || epu.TryOf(err) == "" {
		t.Errorf("got %v, %v, want a conflict with advice", l, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
}
