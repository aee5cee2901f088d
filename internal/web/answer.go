package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/document"
)

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"
)

// httpError is an error whose status no kind stands for.
type httpError struct {
	status int
	epu    *epu.Error
}

func (e *httpError) Error() string { return e.epu.Error() }

func (e *httpError) Unwrap() error { return e.epu }

var errTooLarge = &httpError{
	http.StatusRequestEntityTooLarge,
	&epu.Error{Kind: epu.Invalid, Op: "read the body", Err: errors.New("it is too large")},
}

// statusOf is an error's status for people's tools.
func statusOf(err error) int {
	var known *httpError
	if errors.As(err, &known) {
		return known.status
	}
	switch epu.KindOf(err) {
	case epu.NotFound:
		return http.StatusNotFound
	case epu.Conflict:
		return http.StatusConflict
	case epu.Throttled:
		return http.StatusTooManyRequests
	case epu.Denied:
		return http.StatusForbidden
	case epu.Invalid:
		return http.StatusBadRequest
	case epu.Capacity, epu.Quota, epu.Transient, epu.Unavailable:
		return http.StatusServiceUnavailable
	case epu.UnknownOutcome:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// fail answers with an error as a document.
func (h *Handler) fail(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	h.write(w, status, jsonType, append(document.EncodeFailure(document.FailureOf(err)), '\n'))
}

// message answers with a message as a document.
func (h *Handler) message(w http.ResponseWriter, m proto.Message) {
	doc, err := document.Encode(document.TypeOf(m), m)
	if err != nil {
		h.fail(w, epu.E(epu.Internal, "answer", document.TypeOf(m), err))
		return
	}
	h.write(w, http.StatusOK, jsonType, append(doc, '\n'))
}

// plain answers with JSON of the agents' contract, which has no envelope.
func (h *Handler) plain(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		h.fail(w, epu.E(epu.Internal, "answer", "an agent", err))
		return
	}
	h.write(w, http.StatusOK, jsonType, append(text, '\n'))
}

func (h *Handler) write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h.writeBy(w, writeTimeout)
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body) // who does not take the answer misses it
}

// writeBy gives the client that long, from now, to take what is written.
func (h *Handler) writeBy(w http.ResponseWriter, d time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(h.o.Now().Add(d)) // tests' writers can't
}
