package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/cluster/identity"
)

func (h *Handler) checkIn(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r, msg.AgentBodyMax)
	if err != nil {
		h.refuse(w, err)
		return
	}
	in, err := decodeCheckIn(body)
	if err != nil {
		h.refuse(w, err)
		return
	}
	claims, err := h.o.Tokens.Verify(h.o.Installation, in.Bootstrap)
	if err == nil && (claims.Kind != identity.Bootstrap || claims.Launch != in.Launch) {
		err = epu.E(epu.Denied, "check in", string(in.Launch), errors.New("the token is not of this launch"))
	}
	if err != nil {
		h.refuse(w, err)
		return
	}
	in.Bootstrap = "" // has done its work; nobody behind can log it
	ctx, cancel := context.WithTimeout(r.Context(), beatTimeout)
	defer cancel()
	answer, err := h.o.Agents.CheckIn(ctx, claims, in)
	if epu.KindOf(err) == epu.Transient {
		h.write(w, http.StatusTooEarly, textType, []byte("the machine is not yet known: try again in a second\n"))
		return
	}
	h.reply(w, answer, err)
}

func (h *Handler) beat(w http.ResponseWriter, r *http.Request) {
	claims, err := h.bearer(r)
	if err != nil {
		h.refuse(w, err)
		return
	}
	body, err := readBody(w, r, msg.AgentBodyMax)
	if err != nil {
		h.refuse(w, err)
		return
	}
	beat, err := decodeBeat(body)
	if err == nil && beat.Worker != claims.Worker {
		err = epu.E(epu.Denied, "take a beat", "", errors.New("the token is not of this worker"))
	}
	if err != nil {
		h.refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), beatTimeout)
	defer cancel()
	answer, err := h.o.Agents.Beat(ctx, claims, beat)
	h.reply(w, answer, err)
}

// commands is the long poll. When its time is over the answer is that there is nothing new.
func (h *Handler) commands(w http.ResponseWriter, r *http.Request) {
	claims, err := h.bearer(r)
	if err != nil {
		h.refuse(w, err)
		return
	}
	wait, after, err := pollQuery(r)
	if err != nil {
		h.refuse(w, err)
		return
	}
	select {
	case h.polls <- struct{}{}:
		defer func() { <-h.polls }()
	default:
		h.refuse(w, epu.E(epu.Throttled, "wait for commands", "", errors.New("too many agents wait at this node")))
		return
	}
	h.writeBy(w, wait+writeTimeout)
	ctx, cancel := h.waiting(r, wait)
	defer cancel()
	answer, err := h.o.Agents.Commands(ctx, claims, after)
	if err != nil && ctx.Err() != nil && r.Context().Err() == nil && epu.KindOf(err) != epu.NotFound {
		answer, err = msg.BeatReply{}, nil
		if h.draining() {
			err = epu.E(epu.Unavailable, "wait for commands", "", errors.New("the node is stopping"))
		}
	}
	h.reply(w, answer, err)
}

// bearer verifies the worker's token of a request.
func (h *Handler) bearer(r *http.Request) (identity.Claims, error) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return identity.Claims{}, epu.E(epu.Denied, "answer an agent", "", errors.New("the request has no token"))
	}
	claims, err := h.o.Tokens.Verify(h.o.Installation, token)
	if err == nil && claims.Kind != identity.Worker {
		err = epu.E(epu.Denied, "answer an agent", "", errors.New("this token is good for check-in only"))
	}
	return claims, err
}

func (h *Handler) reply(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		h.refuse(w, err)
		return
	}
	h.plain(w, answer)
}

// refuse answers an agent with the status of its contract and one line for its log.
func (h *Handler) refuse(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	switch epu.KindOf(err) {
	case epu.NotFound:
		status = http.StatusGone
	case epu.Denied:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "Bearer")
	case epu.Invalid:
		status = http.StatusBadRequest
	case epu.Throttled:
		w.Header().Set("Retry-After", "1")
	}
	var known *httpError
	if errors.As(err, &known) {
		status = known.status
	}
	h.write(w, status, textType, []byte(strings.Join(strings.Fields(err.Error()), " ")+"\n"))
}

// pollQuery reads how long to wait, and the last command that the agent has seen.
func pollQuery(r *http.Request) (wait time.Duration, after string, err error) {
	q := r.URL.Query()
	wait = waitDefault
	if text := q.Get("wait"); text != "" {
		wait, err = time.ParseDuration(text)
		if err != nil || wait < 0 {
			return 0, "", epu.E(epu.Invalid, "wait for commands", "", errors.New(`"wait" is no duration such as 30s`))
		}
	}
	after = q.Get("after")
	if !visible(after, commandIDMax) {
		return 0, "", epu.E(epu.Invalid, "wait for commands", "", errors.New(`"after" is no command's ID`))
	}
	return max(min(wait, waitMax), time.Millisecond), after, nil
}

func decodeCheckIn(body []byte) (in msg.CheckIn, err error) {
	if err := json.Unmarshal(body, &in); err != nil {
		return in, invalid("check in", "the body is not the JSON of a check-in")
	}
	if _, _, _, ok := in.Launch.Parse(); !ok || !visible(string(in.Launch), idBytesMax) {
		return in, invalid("check in", `"launch" is not <pool>-<epoch>-<number>`)
	}
	if in.Instance == "" || !visible(string(in.Instance), idBytesMax) {
		return in, invalid("check in", `"instance" is missing, too long or has unprintable characters`)
	}
	return in, nil
}

// Bounds on what a beat may say.
const (
	secondsMax   = 10 * 365 * 24 * 3600
	stderrMax    = 8 << 10 // that is kept of a program's last words
	errorTextMax = 16 << 10
)

func decodeBeat(body []byte) (b msg.Beat, err error) {
	const op = "take a beat"
	if err := json.Unmarshal(body, &b); err != nil {
		return b, invalid(op, "the body is not the JSON of a beat")
	}
	if _, _, ok := b.Worker.Parse(); !ok || !visible(string(b.Worker), idBytesMax) || !visible(string(b.Instance), idBytesMax) {
		return b, invalid(op, `"worker" is not <launch>/<slot>, or "instance" is no ID`)
	}
	switch b.State {
	case "OK", "PROCESS_ERROR", "MONITOR_ERROR":
	default:
		return b, invalid(op, `"state" is none of OK, PROCESS_ERROR, MONITOR_ERROR`)
	}
	if !seconds(b.BusyUntilSeconds) || !seconds(b.IdleSeconds) || len(b.Error) > errorTextMax {
		return b, invalid(op, "a number of seconds is out of range, or the error is too long")
	}
	for _, id := range b.Acked {
		if !visible(id, commandIDMax) {
			return b, invalid(op, `"acked" has what is no command's ID`)
		}
	}
	for i := range b.Failed {
		f := &b.Failed[i]
		if !seconds(f.AgeSeconds) || f.Restarts < 0 || len(f.Error)+len(f.Program) > errorTextMax {
			return b, invalid(op, fmt.Sprintf(`"failed"[%d] is out of range or too long`, i))
		}
		// What a program said last is for people: too much of it is no reason not to hear its worker.
		f.Stderr = strings.ToValidUTF8(f.Stderr[max(0, len(f.Stderr)-stderrMax):], "")
	}
	return b, nil
}

func invalid(op, why string) error { return epu.E(epu.Invalid, op, "", errors.New(why)) }

// seconds bounds a time span from outside, far within what a duration can hold.
func seconds(s float64) bool { return s >= 0 && s <= secondsMax }

// visible reports that a text is printable ASCII without spaces and not too long; it may be empty.
func visible(s string, max int) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= max
}
