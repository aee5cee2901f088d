package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Router gives each request to the actor that owns its subject. Requests come concurrently. The body
// is one of the commands or questions of actors/msg, already decoded; it belongs to the Router.
// Request.user is proven when the connection has a client certificate and a claim otherwise;
// Request.from is always the server's own observation. An error's kind reaches the client.
type Router interface {
	// Ask answers one command or question. The context ends when the client stops waiting; what was
	// begun then goes on, because a command is absolute and its outcome a fact.
	Ask(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error)
	// Watch sends a msg.EventRecord for each event until the context ends or send fails, and then
	// returns. Only *msg.EventsQuery comes here: other questions are watched by asking them again.
	Watch(ctx context.Context, req *msg.Request, body proto.Message, send func(proto.Message) error) error
}

// Authorize decides whether the holder of a verified client certificate may send a body. Its error
// should be of kind Denied.
type Authorize func(cert *x509.Certificate, body proto.Message) error

// Options are a Server's limits and surroundings. Zero values mean the defaults.
type Options struct {
	TLS             *tls.Config   // nil = plain text, for loopback and unix sockets
	Authorize       Authorize     // for connections with a client certificate; nil = ByRole
	Log             *slog.Logger  // panics are logged here; nil = nowhere
	MessageBytesMax int           // of one message in either direction; default 8 MiB
	DeadlineDefault time.Duration // of an Ask that names none; default 30 s
	DeadlineMax     time.Duration // a longer one is cut to this; default 5 min
	WatchesMax      int           // streams at once, more are throttled; default 64
	WatchEvery      time.Duration // how often a watched question is asked again; default 1 s
}

const (
	messageBytesMax = 8 << 20
	deadlineDefault = 30 * time.Second
	deadlineMax     = 5 * time.Minute
	watchesMax      = 64
	watchEvery      = time.Second
	streamsMax      = 256 // concurrent requests of one connection
	idBytesMax      = 64  // of Request.id
	nameBytesMax    = 256 // of Request.user and Request.client
)

func (o Options) withDefaults() Options {
	if o.Authorize == nil {
		o.Authorize = ByRole
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	o.MessageBytesMax = orDefault(o.MessageBytesMax, messageBytesMax)
	o.DeadlineDefault = orDefault(o.DeadlineDefault, deadlineDefault)
	o.DeadlineMax = orDefault(o.DeadlineMax, deadlineMax)
	o.WatchesMax = orDefault(o.WatchesMax, watchesMax)
	o.WatchEvery = orDefault(o.WatchEvery, watchEvery)
	return o
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Server is the node's side of the relay.
type Server struct {
	msg.UnimplementedRelayServer

	router  Router
	opts    Options
	grpc    *grpc.Server
	watches chan struct{} // one token per running watch
	closing chan struct{} // closed by Stop, so that watches end before the server waits for them
	once    sync.Once     // guards closing
}

// NewServer makes a server in front of a router. It does nothing before Serve or Register.
func NewServer(router Router, opts Options) *Server {
	opts = opts.withDefaults()
	s := &Server{
		router: router, opts: opts,
		grpc:    grpc.NewServer(serverOptions(opts)...),
		watches: make(chan struct{}, opts.WatchesMax),
		closing: make(chan struct{}),
	}
	msg.RegisterRelayServer(s.grpc, s)
	return s
}

// Register mounts the relay on a gRPC server that the caller runs, such as the one between nodes. The
// caller's server options decide on TLS, sizes and keepalive then.
func (s *Server) Register(r grpc.ServiceRegistrar) { msg.RegisterRelayServer(r, s) }

// Serve answers requests on a TCP or unix listener until Stop, which makes it return nil. It closes
// the listener. A Server may serve several listeners at once.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return epu.E(epu.Internal, "serve the relay on", l.Addr().String(), err)
	}
	return nil
}

// Stop ends watches, lets running requests finish until the context ends, and cuts what is left. It
// may be called again.
func (s *Server) Stop(ctx context.Context) {
	s.once.Do(func() { close(s.closing) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}

// Ask implements msg.RelayServer. An error of the router is a Fault in the reply, so a status code of
// gRPC always means that the journey failed.
func (s *Server) Ask(ctx context.Context, req *msg.Request) (*msg.Reply, error) {
	body, err := s.open(ctx, req)
	if err != nil {
		return reply(nil, err), nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.deadline(req))
	defer cancel()
	return reply(s.ask(ctx, req, body)), nil
}

// deadline is how long the router may take.
func (s *Server) deadline(req *msg.Request) time.Duration {
	d := req.GetDeadline().AsDuration()
	if req.GetDeadline() == nil || d <= 0 {
		d = s.opts.DeadlineDefault
	}
	return min(d, s.opts.DeadlineMax)
}

// ask calls the router; a panic in it is an internal error of this one request.
func (s *Server) ask(ctx context.Context, req *msg.Request, body proto.Message) (answer proto.Message, err error) {
	defer s.recoverTo(&err, body)
	answer, err = s.router.Ask(ctx, req, body)
	if err == nil && answer == nil {
		err = epu.E(epu.Internal, "ask", NameOf(body), errors.New("the node gave no answer"))
	}
	return answer, err
}

// recoverTo turns a panic into an error.
func (s *Server) recoverTo(err *error, body proto.Message) {
	if r := recover(); r != nil {
		s.opts.Log.Error("panic while answering a request", "message", NameOf(body), "panic", r, "stack", string(debug.Stack()))
		*err = &epu.Error{
			Kind: epu.Internal, Op: "answer", On: NameOf(body), Err: fmt.Errorf("a fault in the node: %v", r),
			Try: "see the node's log for the stack, and report it",
		}
	}
}

// reply packs an answer or an error.
func reply(answer proto.Message, err error) *msg.Reply {
	if err == nil {
		var body *anypb.Any
		if body, err = anypb.New(answer); err == nil {
			return &msg.Reply{Result: &msg.Reply_Body{Body: body}}
		}
	}
	return &msg.Reply{Result: &msg.Reply_Fault{Fault: FaultOf(err)}}
}
