package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/nimbus-epu/epu"
)

// ServeHTTP implements http.Handler: every request is counted and limited, and a panic in its handler
// is its own error only.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &answer{ResponseWriter: w}
	_, pattern := h.mux.Handler(r)
	defer func() {
		p := recover()
		if p != nil {
			h.failed(out, r, p)
		}
		if h.o.Meter != nil {
			h.o.Meter.Request(route(pattern), out.code())
		}
		if p == http.ErrAbortHandler {
			panic(p)
		}
	}()
	head := out.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	// Deadlines are of each request, not of the server, so that polls and streams can have their own.
	h.writeBy(out, askTimeout+writeTimeout)
	if r.Body != nil && r.Body != http.NoBody {
		_ = http.NewResponseController(out).SetReadDeadline(h.o.Now().Add(readTimeout)) // tests' writers can't
	}
	h.mux.ServeHTTP(out, r)
}

// route is the pattern's path; what matched none shares a name, or strangers could make labels.
func route(pattern string) string {
	if pattern == "" {
		return "other"
	}
	_, path, found := strings.Cut(pattern, " ")
	if !found {
		return pattern
	}
	return path
}

// failed answers a request whose handler panicked.
func (h *Handler) failed(out *answer, r *http.Request, p any) {
	if p == http.ErrAbortHandler {
		return // a deliberate end
	}
	if h.o.Meter != nil {
		h.o.Meter.Panic()
	}
	h.o.Log.Error("panic while answering a request", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if out.status == 0 {
		h.fail(out, &epu.Error{
			Kind: epu.Internal, Op: "answer", On: r.URL.Path, Err: errors.New("a fault in the node"),
			Try: "see the node's log for the stack, and report it",
		})
	}
}

// answer remembers what was answered.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

// readBody reads a body of at most max bytes within its deadline. At its end net/http lifts the deadline.
func readBody(w http.ResponseWriter, r *http.Request, max int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, max))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge
	case err != nil:
		return nil, epu.E(epu.Invalid, "read the body", "", errors.New("it did not come whole or in time"))
	}
	return body, nil
}
