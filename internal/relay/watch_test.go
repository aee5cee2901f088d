package relay_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/relay"
)

// Events come from the router as they are; a watched question yields changes only.

func TestWatchStreamsEventsUntilTheRouterEnds(t *testing.T) {
	c, _ := node(t, "127.0.0.1:0", router{watch: func(_ context.Context, _ *msg.Request, body proto.Message, send func(proto.Message) error) error {
		for _, name := range []string{"worker_running", "launch_failed"} {
			if err := send(&msg.EventRecord{Name: name, Pool: body.(*msg.EventsQuery).GetPool()}); err != nil {
				return err
			}
		}
		return nil
	}}, relay.Options{})
	var got []string
	for e, err := range relay.Watch[*msg.EventRecord](t.Context(), c, &msg.EventsQuery{Pool: "p"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.GetPool()+" "+e.GetName())
	}
	if len(got) != 2 || got[1] != "p launch_failed" {
		t.Errorf("got %q", got)
	}
}

func TestWatchedQuestionYieldsChangesThenItsError(t *testing.T) {
	asked := 0
	c, _ := node(t, "127.0.0.1:0", router{ask: func(context.Context, *msg.Request, proto.Message) (proto.Message, error) {
		asked++
		if asked == 10 {
			return nil, epu.E(epu.NotFound, "show", "epu-web", nil)
		}
		return &msg.Status{Pools: []*msg.PoolStatus{{Want: int32(asked / 3)}}}, nil
	}}, relay.Options{WatchEvery: time.Microsecond})
	var got []int32
	var last error
	for s, err := range relay.Watch[*msg.Status](t.Context(), c, &msg.StatusQuery{}) {
		if last = err; err == nil {
			got = append(got, s.GetPools()[0].GetWant())
		}
	}
	if len(got) != 4 || got[0] != 0 || got[3] != 3 {
		t.Errorf("got %v, want 0 1 2 3", got)
	}
	if epu.KindOf(last) != epu.NotFound {
		t.Errorf("ended with %v, want not found", last)
	}
}

func TestWatchRefusesCommandsAndTooMany(t *testing.T) {
	c, _ := node(t, "127.0.0.1:0", router{watch: func(ctx context.Context, _ *msg.Request, _ proto.Message, send func(proto.Message) error) error {
		if err := send(&msg.EventRecord{}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}, relay.Options{WatchesMax: 1})
	if err := firstError(t.Context(), c, &msg.TerminateAll{}); epu.KindOf(err) != epu.Invalid {
		t.Errorf("a watched command gave %v, want invalid", err)
	}
	for _, err := range relay.Watch[*msg.EventRecord](t.Context(), c, &msg.EventsQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := firstError(t.Context(), c, &msg.EventsQuery{}); epu.KindOf(err) != epu.Throttled {
			t.Errorf("a second watch gave %v, want throttled", err)
		}
		break
	}
}

// Stop must not wait for watches, which have no end of their own, and must tell their clients.
func TestStopEndsWatches(t *testing.T) {
	c, s := node(t, "127.0.0.1:0", router{watch: func(ctx context.Context, _ *msg.Request, _ proto.Message, send func(proto.Message) error) error {
		if err := send(&msg.EventRecord{}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}, relay.Options{})
	var last error
	for _, err := range relay.Watch[*msg.EventRecord](t.Context(), c, &msg.EventsQuery{}) {
		if last = err; err == nil {
			s.Stop(t.Context())
		}
	}
	if epu.KindOf(last) != epu.Unavailable {
		t.Errorf("the watch ended with %v, want unavailable", last)
	}
}

func firstError(ctx context.Context, c *relay.Client, body proto.Message) error {
	for _, err := range relay.Watch[*msg.EventRecord](ctx, c, body) {
		if err != nil {
			return err
		}
	}
	return nil
}

// told is a router that says when something happened.
type told struct {
	router
	changed  chan struct{}
	canceled chan struct{}
}

func (r told) Changes() (<-chan struct{}, func()) { return r.changed, func() { close(r.canceled) } }

// Goal: what lasts shorter than the period is seen too. Method: a period of an hour, and a router that
// tells of two changes.
func TestWatchedQuestionIsAskedWhenSomethingHappened(t *testing.T) {
	asked := int32(0)
	r := told{changed: make(chan struct{}, 1), canceled: make(chan struct{})}
	r.ask = func(context.Context, *msg.Request, proto.Message) (proto.Message, error) {
		asked++
		if asked < 3 {
			r.changed <- struct{}{}
		}
		return &msg.Status{Pools: []*msg.PoolStatus{{Want: asked}}}, nil
	}
	c, _ := node(t, "127.0.0.1:0", r, relay.Options{WatchEvery: time.Hour})
	for s, err := range relay.Watch[*msg.Status](t.Context(), c, &msg.StatusQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		if s.GetPools()[0].GetWant() == 3 {
			break
		}
	}
	<-r.canceled
}
