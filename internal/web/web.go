package web

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/cluster/identity"
	"github.com/nimbus-epu/epu/internal/relay"
)

// Agents takes in what agents say. Claims are verified, and what the agent says of itself agrees with
// them. Errors of kind NotFound mean that the worker has ended (410: the agent stops its programs),
// Denied 401, Invalid 400; anything else "try again later". A check-in that is Transient, for its
// launch does not know the machine yet, is answered 425, so that the agent comes back after a second.
type Agents interface {
	// CheckIn exchanges a bootstrap token for a worker's own.
	CheckIn(ctx context.Context, claims identity.Claims, in msg.CheckIn) (msg.CheckedIn, error)
	// Beat takes in a heartbeat.
	Beat(ctx context.Context, claims identity.Claims, beat msg.Beat) (msg.BeatReply, error)
	// Commands waits until there are commands after the one with that ID, or the context ends, which is
	// no error.
	Commands(ctx context.Context, claims identity.Claims, after string) (msg.BeatReply, error)
}

// tokens verifies workers' tokens; *identity.Signer does.
type tokens interface {
	Verify(installation epu.InstallationID, token string) (identity.Claims, error)
}

// router answers questions and commands; every relay.Router does.
type router interface {
	Ask(ctx context.Context, req *msg.Request, body proto.Message) (proto.Message, error)
	Watch(ctx context.Context, req *msg.Request, body proto.Message, send func(proto.Message) error) error
}

// meter counts requests; *metrics.Metrics does.
type meter interface {
	Request(route string, status int)
	Panic()
}

// Condition is one thing that must be so for a node to be ready.
type Condition struct {
	Name string `json:"name"` // "site local"
	OK   bool   `json:"ok"`
	Text string `json:"text,omitempty"` // why not
	Try  string `json:"try,omitempty"`  // what to do
}

// Options are what a Handler stands on. Agents, Tokens, Installation, Router, Ready, NewID and Now are
// required.
type Options struct {
	Agents       Agents
	Tokens       tokens
	Installation epu.InstallationID
	Router       router
	Ready        func(ctx context.Context) []Condition
	NewID        func() string    // ULIDs, for requests that bring no ID
	Now          func() time.Time // for the deadlines of connections: the wall clock
	Metrics      http.Handler     // nil = no /metrics
	Meter        meter            // nil = nothing is counted
	Log          *slog.Logger     // panics are logged here; nil = nowhere
	Authorize    relay.Authorize  // for client certificates; nil = relay.ByRole
	Insecure     bool             // the operator wrote --insecure: whoever reaches the address commands the node
	Hosts        []string         // further names under which plain HTTP may be asked, beside addresses and localhost
	PollsMax     int              // long polls at once, more are told to wait; default 100 000
	StreamsMax   int              // event streams at once; default 64
}

const (
	pollsMax        = 100_000
	streamsMax      = 64
	apiBodyMax      = 8 << 20          // of a command: it may carry files
	askTimeout      = 30 * time.Second // of one question or command
	beatTimeout     = 10 * time.Second // of one check-in or beat
	readTimeout     = 15 * time.Second // for a whole body to arrive
	writeTimeout    = 15 * time.Second // for an answer to be taken
	waitDefault     = 30 * time.Second // of a long poll that names no time
	waitMax         = time.Minute
	streamMax       = 24 * time.Hour   // then a stream's client connects again and goes on
	streamPing      = 15 * time.Second // an event stream without events shows so often that it lives
	headerBytesMax  = 16 << 10
	headerTimeout   = 5 * time.Second
	connIdleTimeout = 2 * time.Minute
	nameBytesMax    = 256 // of users' and clients' names
	idBytesMax      = 512 // of IDs that agents say
	commandIDMax    = 128
)

// Handler answers requests. It is safe for concurrent use.
type Handler struct {
	o       Options
	mux     *http.ServeMux
	origin  *http.CrossOriginProtection
	polls   chan struct{} // one token per waiting poll
	streams chan struct{} // one token per event stream
	repeats repeats
	drained context.Context // ended by Drain
	drain   context.CancelFunc
}

// New makes a handler.
func New(o Options) *Handler {
	if o.Authorize == nil {
		o.Authorize = relay.ByRole
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.PollsMax <= 0 {
		o.PollsMax = pollsMax
	}
	if o.StreamsMax <= 0 {
		o.StreamsMax = streamsMax
	}
	h := &Handler{
		o: o, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(),
		polls: make(chan struct{}, o.PollsMax), streams: make(chan struct{}, o.StreamsMax),
	}
	h.drained, h.drain = context.WithCancel(context.Background())
	h.routes()
	return h
}

func (h *Handler) routes() {
	handle := func(pattern string, f func(http.ResponseWriter, *http.Request)) { h.mux.HandleFunc(pattern, f) }
	handle("POST "+msg.AgentCheckInPath, h.checkIn)
	handle("POST "+msg.AgentBeatPath, h.beat)
	handle("GET "+msg.AgentCommandsPath, h.commands)
	for path, q := range questions() {
		handle("GET "+path, h.question(q))
	}
	handle("GET /v1/events", h.events)
	handle("POST /v1/command", h.command)
	handle("GET /healthz", h.healthz)
	handle("GET /readyz", h.readyz)
	if h.o.Metrics != nil {
		h.mux.Handle("GET /metrics", h.o.Metrics)
	}
}

// Drain ends long polls and event streams, which would otherwise keep a server from stopping. Requests
// that come later are still answered, but none waits.
func (h *Handler) Drain() { h.drain() }

// waiting is a context for a request that waits: it ends with the request, after d, and with Drain.
func (h *Handler) waiting(r *http.Request, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), d)
	stop := context.AfterFunc(h.drained, cancel) // costs no goroutine, of which there would be one for each agent
	return ctx, func() {
		stop()
		cancel()
	}
}

func (h *Handler) draining() bool { return h.drained.Err() != nil }
