package relay

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Watch implements msg.RelayServer. Events stream from the router; any other question is asked again
// when something happened, and every Options.WatchEvery, and answered when its answer changed. Commands
// can't be watched.
func (s *Server) Watch(req *msg.Request, stream grpc.ServerStreamingServer[msg.Reply]) error {
	ctx, cancel := s.watchContext(stream.Context(), req)
	defer cancel()
	err := s.watch(ctx, req, func(m proto.Message) error { return stream.Send(reply(m, nil)) })
	switch {
	case err == nil:
		return nil
	case stream.Context().Err() != nil:
		return stream.Context().Err() // the client went away: nobody to tell
	case s.stopping():
		err = &epu.Error{
			Kind: epu.Unavailable, Op: "watch", Err: errors.New("the node is stopping"),
			Try: "watch again when it is back, or another node with --node",
		}
	}
	return stream.Send(reply(nil, err))
}

// watchContext ends with the client, the request's deadline (none by default) and the server.
func (s *Server) watchContext(ctx context.Context, req *msg.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if d := req.GetDeadline(); d != nil && d.AsDuration() > 0 {
		ctx, cancel = withBoth(ctx, cancel, d.AsDuration())
	}
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func withBoth(ctx context.Context, outer context.CancelFunc, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, inner := context.WithTimeout(ctx, d)
	return ctx, func() { inner(); outer() }
}

func (s *Server) stopping() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

func (s *Server) watch(ctx context.Context, req *msg.Request, send func(proto.Message) error) (err error) {
	body, err := s.open(ctx, req)
	if err != nil {
		return err
	}
	defer s.recoverTo(&err, body)
	select {
	case s.watches <- struct{}{}:
		defer func() { <-s.watches }()
	default:
		return &epu.Error{
			Kind: epu.Throttled, Op: "watch", On: NameOf(body), Err: errors.New("too many watches on this node"),
			Try: "end others, or ask without watching",
		}
	}
	if _, ok := body.(*msg.EventsQuery); ok {
		return s.router.Watch(ctx, req, body, send)
	}
	if !IsQuestion(body) {
		return epu.E(epu.Invalid, "watch", NameOf(body), errors.New("a command has one answer; only questions can be watched"))
	}
	return s.askAgain(ctx, req, body, send)
}

// notifier is an optional ability of a Router: changed gets a value soon after anything happened that may
// lead to another answer, until cancel is called. Several happenings may make one value.
type notifier interface {
	Changes() (changed <-chan struct{}, cancel func())
}

// watchGap is the least time between a watched question and the next: what happens in a burst is answered
// together.
const watchGap = 100 * time.Millisecond

// askAgain sends the first answer and every one that differs from the one before. The clients' side
// would cost a message for every look; the actors answer from memory.
func (s *Server) askAgain(ctx context.Context, req *msg.Request, body proto.Message, send func(proto.Message) error) error {
	tick := time.NewTicker(s.opts.WatchEvery)
	defer tick.Stop()
	var changed <-chan struct{}
	if n, ok := s.router.(notifier); ok {
		c, cancel := n.Changes()
		defer cancel()
		changed = c
	}
	var last proto.Message
	for {
		once, cancel := context.WithTimeout(ctx, s.opts.DeadlineDefault)
		answer, err := s.ask(once, req, proto.Clone(body))
		cancel()
		if err != nil {
			return err
		}
		if last == nil || !proto.Equal(last, answer) {
			if err := send(answer); err != nil {
				return err
			}
			last = answer
		}
		if err := s.pause(ctx, tick.C, changed); err != nil {
			return err
		}
	}
}

// pause ends with the period, or when something happened but not sooner than the gap.
func (s *Server) pause(ctx context.Context, period <-chan time.Time, changed <-chan struct{}) error {
	gap := time.NewTimer(min(watchGap, s.opts.WatchEvery))
	defer gap.Stop()
	var ready <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-period:
			return nil
		case <-gap.C:
			ready = changed
		case <-ready:
			return nil
		}
	}
}
