package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// ClientOptions say who asks. NewID is required; the rest may stay empty.
type ClientOptions struct {
	TLS             *tls.Config   // nil = plain text
	User            string        // for the audit record; a certificate's name takes its place
	Client          string        // program and version, such as "epumgmt 1.0.0"
	NewID           func() string // makes command IDs (ULIDs)
	MessageBytesMax int           // of one message in either direction; default 8 MiB
}

// Client is a connection to one node. It is safe for concurrent use.
type Client struct {
	target string
	opts   ClientOptions
	conn   *grpc.ClientConn
	relay  msg.RelayClient
	shake  *handshake
}

// Dial prepares a connection to host:port or unix:PATH. Nothing is sent before the first request; a
// node that can't be reached is an error of kind Unavailable there.
func Dial(target string, opts ClientOptions) (*Client, error) {
	opts.MessageBytesMax = orDefault(opts.MessageBytesMax, messageBytesMax)
	creds, shake := insecure.NewCredentials(), &handshake{}
	if opts.TLS != nil {
		creds = credentials.NewTLS(shake.watch(opts.TLS))
	}
	address, err := grpcTarget(target)
	if err != nil {
		return nil, err
	}
	retry := backoff.DefaultConfig
	retry.MaxDelay = connectTimeout
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(), // a proxy of the environment is meant for the web, not for nodes
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveEvery, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(opts.MessageBytesMax), grpc.MaxCallSendMsgSize(opts.MessageBytesMax)),
	)
	if err != nil {
		return nil, epu.E(epu.Invalid, "dial", target, err)
	}
	return &Client{target: target, opts: opts, conn: conn, relay: msg.NewRelayClient(conn), shake: shake}, nil
}

// grpcTarget writes an address in gRPC's way. The passthrough resolver hands it to the dialer as it
// is: gRPC's own DNS resolver would poll, and read settings from TXT records.
func grpcTarget(target string) (string, error) {
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", epu.E(epu.Invalid, "dial", target, err)
		}
		return "unix://" + abs, nil
	}
	if !strings.Contains(target, ":") || strings.ContainsAny(target, "/ \t\n") {
		return "", &epu.Error{
			Kind: epu.Invalid, Op: "dial", On: target, Err: errors.New("this is no address of a node"),
			Try: "write host:port, such as 127.0.0.1:7420, or unix:PATH",
		}
	}
	return "passthrough:///" + target, nil
}

// Target is the address as it was given to Dial.
func (c *Client) Target() string { return c.target }

// Close ends the connection and whatever still waits on it.
func (c *Client) Close() error { return c.conn.Close() }

// Ask sends one command or question and gives its answer. Errors of the node come back as epu.Error
// or msg.Refusal with their kind; a journey that failed has kind Unavailable if nothing can have been
// done, and UnknownOutcome if the answer did not come in time.
func Ask[T proto.Message](ctx context.Context, c *Client, body proto.Message) (T, error) {
	var none T
	req, err := c.request(ctx, body)
	if err != nil {
		return none, err
	}
	r, err := c.relay.Ask(ctx, req)
	if err != nil {
		return none, c.journeyError(ctx, NameOf(body), err)
	}
	c.shake.answered.Store(true)
	return answerOf[T](c, body, r)
}

// Watch sends a question and yields an answer for each change, until the loop ends, the context does,
// or an error comes, which is the last thing it yields.
func Watch[T proto.Message](ctx context.Context, c *Client, body proto.Message) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		req, err := c.request(ctx, body)
		if err != nil {
			yield(none, err)
			return
		}
		stream, err := c.relay.Watch(ctx, req)
		for err == nil {
			var r *msg.Reply
			if r, err = stream.Recv(); err != nil {
				break
			}
			c.shake.answered.Store(true)
			answer, aerr := answerOf[T](c, body, r)
			if !yield(answer, aerr) || aerr != nil {
				return
			}
		}
		if !errors.Is(err, io.EOF) { // the node has nothing more to say
			yield(none, c.journeyError(ctx, NameOf(body), err))
		}
	}
}

func (c *Client) request(ctx context.Context, body proto.Message) (*msg.Request, error) {
	packed, err := anypb.New(body)
	if err != nil {
		return nil, epu.E(epu.Internal, "send", NameOf(body), err)
	}
	req := &msg.Request{Id: c.opts.NewID(), Body: packed, User: c.opts.User, Client: c.opts.Client}
	if end, ok := ctx.Deadline(); ok {
		req.Deadline = durationpb.New(max(time.Until(end), time.Millisecond))
	}
	return req, nil
}

func answerOf[T proto.Message](c *Client, body proto.Message, r *msg.Reply) (T, error) {
	var none T
	if f := r.GetFault(); f != nil {
		return none, ErrorOf(f)
	}
	m, err := r.GetBody().UnmarshalNew()
	answer, ok := m.(T)
	if err != nil || !ok {
		return none, &epu.Error{
			Kind: epu.Internal, Op: "read the answer to " + NameOf(body), On: "from " + c.target,
			Err: fmt.Errorf("it is %q, which this program does not expect", clip(r.GetBody().GetTypeUrl())),
			Try: "use the client that came with the node",
		}
	}
	return answer, nil
}

// journeyError says what it means that gRPC could not bring an answer.
func (c *Client) journeyError(ctx context.Context, op string, err error) error {
	e := &epu.Error{Kind: epu.Internal, Op: "ask", On: "the node at " + c.target}
	if cause := ctx.Err(); errors.Is(cause, context.Canceled) {
		e.Kind, e.Err = epu.UnknownOutcome, cause
		return e
	}
	st := status.Convert(err)
	e.Err = errors.New(reasonIn(st.Message()))
	switch st.Code() {
	case codes.Unavailable:
		if known := c.shake.explain(c.opts.TLS, st.Message(), func() bool { return speaksTLS(ctx, c.target) }); known != nil {
			known.Op, known.On = e.Op, e.On
			return known
		}
		e.Kind, e.Op = epu.Unavailable, "reach"
		e.Try = "start a node with: epud dev   or name another with: --node HOST:PORT   or look closer with: epumgmt doctor"
		if cutOff(st.Message()) {
			e.Op, e.Err = "ask", errors.New("the node ended the connection: it may just have stopped")
			e.Try = "try again; if that does not help, look whether it runs: epumgmt doctor"
		}
	case codes.DeadlineExceeded:
		e.Kind, e.Err = epu.UnknownOutcome, errors.New("no answer to "+op+" in time; it may still be done")
		e.Try = "repeat it: doing a command twice is harmless; --request-timeout waits longer"
	case codes.ResourceExhausted:
		e.Kind, e.Err = epu.Invalid, errors.New("the message is too large: "+st.Message())
	case codes.Unauthenticated, codes.PermissionDenied:
		e.Kind = epu.Denied
	case codes.Unimplemented:
		e.Kind, e.Err = epu.Invalid, errors.New("the program at this address is not a node of EPU")
		e.Try = "check the port: the relay's default is 7420"
	}
	return e
}

// cutOff reports that a connection ended before what was awaited had come.
func cutOff(text string) bool {
	for _, known := range []string{"broken pipe", "connection reset", "EOF"} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

// reasonIn keeps the end of gRPC's long connection errors: what the operating system said.
func reasonIn(text string) string {
	for _, known := range []string{"connection refused", "no such file or directory", "no route to host", "network is unreachable"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	text = strings.TrimPrefix(text, "connection error: desc = ")
	return strings.Trim(text, `"`)
}
