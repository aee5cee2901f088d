package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// asked is one question's parameters and how they make its message.
type asked struct {
	params []string
	repeat bool // parameters may be given more than once
	body   func(p params) proto.Message
}

// questions lists the questions that have a path. Those with files in them go to /v1/command.
func questions() map[string]asked {
	return map[string]asked{
		"/v1/status":    {[]string{"pool"}, true, func(p params) proto.Message { return &msg.StatusQuery{Pools: p.q["pool"]} }},
		"/v1/instances": {[]string{"pool", "all"}, false, func(p params) proto.Message { return &msg.InstancesQuery{Pool: p.text("pool"), All: p.yes("all")} }},
		"/v1/explain": {[]string{"pool", "decision", "at"}, false, func(p params) proto.Message {
			if p.text("decision") != "" && p.text("at") != "" {
				p.note(invalid("read the request", "a decision is named by decision or by at, not by both"))
			}
			return &msg.ExplainQuery{Pool: p.text("pool"), Decision: p.text("decision"), At: p.time("at")}
		}},
		"/v1/decisions": {[]string{"pool", "since", "limit"}, false, func(p params) proto.Message {
			return &msg.DecisionsQuery{Pool: p.text("pool"), Since: p.time("since"), Limit: p.number("limit")}
		}},
		"/v1/doctor":  {nil, false, func(params) proto.Message { return &msg.DoctorQuery{} }},
		"/v1/version": {nil, false, func(params) proto.Message { return &msg.VersionQuery{} }},
	}
}

// eventsAsked is the question behind /v1/events, which may also stream.
func eventsAsked() asked {
	return asked{[]string{"pool", "since", "limit"}, false, func(p params) proto.Message {
		return &msg.EventsQuery{Pool: p.text("pool"), Since: p.time("since"), Limit: p.number("limit")}
	}}
}

// message reads a request's parameters. Unknown and doubled ones are refused: a misspelt filter would
// answer something else than was meant.
func (a asked) message(r *http.Request) (proto.Message, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, epu.E(epu.Invalid, "read the request", "", errors.New("its parameters are not encoded for a URL"))
	}
	p := params{q: q, bad: new(error)}
	for name, values := range q {
		if !slices.Contains(a.params, name) {
			return nil, &epu.Error{
				Kind: epu.Invalid, Op: "read the request", Err: fmt.Errorf("unknown parameter %q", clip(name)),
				Try: "use: " + strings.Join(append(slices.Clone(a.params), "(nothing else)"), " "),
			}
		}
		if len(values) > 1 && !a.repeat {
			return nil, epu.E(epu.Invalid, "read the request", "", fmt.Errorf("parameter %q is given twice", name))
		}
		for _, v := range values {
			p.note(checkName(name, v))
		}
	}
	m := a.body(p)
	return m, *p.bad
}

// params reads values and keeps the first problem.
type params struct {
	q   url.Values
	bad *error
}

func (p params) note(err error) {
	if *p.bad == nil {
		*p.bad = err
	}
}

func (p params) fail(name, want string) {
	p.note(epu.E(epu.Invalid, "read the request", "", fmt.Errorf("%s=%q is not %s", name, clip(p.q.Get(name)), want)))
}

func (p params) text(name string) string { return p.q.Get(name) }

func (p params) yes(name string) bool {
	if p.q.Get(name) == "" {
		return false
	}
	b, err := strconv.ParseBool(p.q.Get(name))
	if err != nil {
		p.fail(name, "true or false")
	}
	return b
}

func (p params) number(name string) int32 {
	if p.q.Get(name) == "" {
		return 0
	}
	n, err := strconv.ParseInt(p.q.Get(name), 10, 32)
	if err != nil || n < 0 {
		p.fail(name, "a number from 0")
	}
	return int32(n)
}

func (p params) time(name string) *timestamppb.Timestamp {
	if p.q.Get(name) == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, p.q.Get(name))
	if err != nil {
		p.fail(name, "a time such as 2026-11-21T14:00:00Z")
		return nil
	}
	return timestamppb.New(t)
}

func (h *Handler) question(a asked) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := a.message(r)
		if err == nil {
			err = h.sameSite(r)
		}
		if err != nil {
			h.fail(w, err)
			return
		}
		h.ask(w, r, &msg.Request{Id: h.o.NewID()}, body)
	}
}

// ask admits a body, brings it to the router and its answer back.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, req *msg.Request, body proto.Message) {
	if err := h.prepare(r, req, body); err != nil {
		h.fail(w, err)
		return
	}
	h.carry(w, r, req, body)
}

// carry brings an admitted body to the router and its answer back.
func (h *Handler) carry(w http.ResponseWriter, r *http.Request, req *msg.Request, body proto.Message) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	answer, err := h.o.Router.Ask(ctx, req, body)
	switch {
	case err != nil && errors.Is(err, context.DeadlineExceeded):
		h.fail(w, &epu.Error{Kind: epu.UnknownOutcome, Op: "answer", On: r.URL.Path, Err: errors.New("no answer in time; it may still be done"), Try: "repeat it: doing a command twice is harmless"})
	case err != nil:
		h.fail(w, err)
	case answer == nil:
		h.fail(w, epu.E(epu.Internal, "answer", r.URL.Path, errors.New("the node gave no answer")))
	default:
		h.message(w, answer)
	}
}

// prepare admits a request and fills in the rest of it.
func (h *Handler) prepare(r *http.Request, req *msg.Request, body proto.Message) error {
	if req.User == "" {
		req.User = r.Header.Get(userHeader)
	}
	req.Client = r.UserAgent()
	if err := errors.Join(checkName(userHeader, req.User), checkName("User-Agent", req.Client)); err != nil {
		return epu.E(epu.Invalid, "read the request", "", err)
	}
	packed, err := anypb.New(body)
	if err != nil {
		return epu.E(epu.Invalid, "read the request", "", errors.New("its text is not UTF-8"))
	}
	req.Body, req.Deadline = packed, durationpb.New(askTimeout)
	return h.admit(r, req, body)
}
