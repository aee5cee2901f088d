package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/document"
)

const streamType = "text/event-stream"

// events answers with past events, or streams them and those to come.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), streamType) {
		h.question(eventsAsked())(w, r)
		return
	}
	body, err := eventsAsked().message(r)
	if err == nil {
		err = h.sameSite(r)
	}
	req := &msg.Request{Id: h.o.NewID()}
	if err == nil {
		err = h.prepare(r, req, body)
	}
	if err == nil && h.draining() {
		err = epu.E(epu.Unavailable, "watch", "events", errors.New("the node is stopping"))
	}
	if err != nil {
		h.fail(w, err)
		return
	}
	req.Deadline = nil // a stream has no end of its own
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		h.fail(w, &epu.Error{Kind: epu.Throttled, Op: "watch", On: "events", Err: errors.New("too many streams on this node"), Try: "end others, or ask without streaming"})
		return
	}
	q := body.(*msg.EventsQuery)
	s := &stream{h: h, w: w, last: r.Header.Get("Last-Event-ID")}
	s.resume(q)
	s.run(r, req, q)
}

// stream is one event stream. The mutex guards the connection: events and pings come from two sides.
type stream struct {
	h    *Handler
	w    http.ResponseWriter
	last string // the event that the client has seen last

	mu   sync.Mutex
	over bool
}

// resumeMax bounds how many events a client that comes back is told at once.
const resumeMax = 1000

// resume asks from where a client that lost its connection left off. Times of IDs are exact to the
// millisecond, so some events may come twice, and none is left out.
func (s *stream) resume(q *msg.EventsQuery) {
	id, err := ulid.ParseStrict(s.last)
	if err != nil {
		s.last = ""
		return
	}
	if at := ulid.Time(id.Time()); q.GetSince().AsTime().Before(at) {
		q.Since = timestamppb.New(at)
	}
	if q.GetLimit() == 0 {
		q.Limit = resumeMax
	}
}

func (s *stream) run(r *http.Request, req *msg.Request, q *msg.EventsQuery) {
	ctx, cancel := s.h.waiting(r, streamMax)
	defer cancel()
	s.w.Header().Set("Content-Type", streamType)
	s.w.Header().Set("X-Accel-Buffering", "no") // proxies pass each event on at once
	if s.send(": epu/v1 events\n\n") != nil {
		return
	}
	var pings sync.WaitGroup
	pings.Go(func() { s.ping(ctx, cancel) })
	// Deferred, because the writer may not be touched after the handler, not even when Watch panics.
	defer pings.Wait()
	defer cancel()
	err := s.h.o.Router.Watch(ctx, req, q, s.event)
	if err != nil && ctx.Err() == nil {
		doc := document.EncodeFailure(document.FailureOf(err))
		_ = s.send(fmt.Sprintf("event: error\ndata: %s\n\n", doc)) // the client may have gone
	}
}

// event sends one event. A client that does not take it in time is cut off.
func (s *stream) event(m proto.Message) error {
	e, ok := m.(*msg.EventRecord)
	if !ok {
		return epu.E(epu.Internal, "stream", string(m.ProtoReflect().Descriptor().Name()), errors.New("it is no event"))
	}
	if e.GetId() == s.last && s.last != "" {
		return nil
	}
	doc, err := document.Encode(document.TypeOf(e), e)
	if err != nil {
		return epu.E(epu.Internal, "stream", e.GetId(), err)
	}
	id := ""
	if visible(e.GetId(), idBytesMax) && e.GetId() != "" {
		id = "id: " + e.GetId() + "\n"
	}
	return s.send(fmt.Sprintf("%sdata: %s\n\n", id, doc))
}

func (s *stream) send(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errGone
	}
	s.h.writeBy(s.w, writeTimeout)
	_, err := s.w.Write([]byte(text))
	if err == nil {
		err = http.NewResponseController(s.w).Flush()
	}
	if err != nil {
		s.over = true
		return errGone
	}
	s.h.writeBy(s.w, streamPing+writeTimeout) // on HTTP/2 a deadline ends a quiet stream
	return nil
}

var errGone = epu.E(epu.Unavailable, "stream", "events", errors.New("the client has gone"))

// ping shows now and then that the stream lives, which also finds clients that have gone.
func (s *stream) ping(ctx context.Context, gone context.CancelFunc) {
	for {
		pause, cancel := context.WithTimeout(ctx, streamPing)
		<-pause.Done()
		cancel()
		if ctx.Err() != nil {
			return
		}
		if s.send(": ping\n\n") != nil {
			gone()
			return
		}
	}
}
