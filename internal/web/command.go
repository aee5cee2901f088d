package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// userHeader says who commands. That it must be there keeps pages of other sites out: a browser sends a
// header of this kind for them only after asking us, and we never agree.
const userHeader = "X-EPU-User"

const requestIDMax = 64

// envelope is the body of POST /v1/command.
type envelope struct {
	Type string          `json:"type"` // a message of remote.proto: "Scale"
	ID   string          `json:"id"`   // of the command, the same on a retry; made here when empty
	Body json.RawMessage `json:"body"` // its fields, as JSON of protobuf
}

func (h *Handler) command(w http.ResponseWriter, r *http.Request) {
	if err := h.fromProgram(r); err != nil {
		h.fail(w, err)
		return
	}
	text, err := readBody(w, r, apiBodyMax)
	if err != nil {
		h.fail(w, err)
		return
	}
	id, body, err := decodeCommand(text)
	if err != nil {
		h.fail(w, err)
		return
	}
	req, chosen := &msg.Request{Id: id}, id != ""
	if !chosen {
		req.Id = h.o.NewID()
	}
	err = h.prepare(r, req, body)
	if err == nil && chosen {
		err = h.repeats.claim(id, body)
	}
	if err != nil {
		h.fail(w, err)
		return
	}
	h.carry(w, r, req, body)
}

// fromProgram refuses what a web page of another site can make a browser send.
func (h *Handler) fromProgram(r *http.Request) error {
	if err := h.sameSite(r); err != nil {
		return err
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != jsonType {
		return &httpError{http.StatusUnsupportedMediaType, &epu.Error{
			Kind: epu.Invalid, Op: "read the request", Err: errors.New("its content type is not " + jsonType), Try: "send the header Content-Type: " + jsonType,
		}}
	}
	if strings.TrimSpace(r.Header.Get(userHeader)) == "" {
		return &epu.Error{
			Kind: epu.Denied, Op: "take a command", Err: errors.New("the request does not say who sends it"),
			Try: "send the header " + userHeader + " with your name, for the audit",
		}
	}
	return nil
}

// sameSite refuses requests that a browser marks as coming from a page of another site.
func (h *Handler) sameSite(r *http.Request) error {
	foreign := h.origin.Check(r) != nil // looks at what changes something only
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		foreign = true
	}
	if foreign {
		return epu.E(epu.Denied, "answer", clip(r.URL.Path), errors.New("the request comes from a page of another site"))
	}
	return nil
}

// decodeCommand reads a command. Unknown fields are refused: a misspelt one would do something else.
func decodeCommand(text []byte) (id string, body proto.Message, err error) {
	const op = "read the command"
	var e envelope
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || d.More() {
		return "", nil, &epu.Error{
			Kind: epu.Invalid, Op: op, Err: errors.New("the body is not one JSON object with type, body and perhaps id"),
			Try: `send {"type":"Scale","body":{"pool":"epu-web","n":5}}`,
		}
	}
	if !visible(e.ID, requestIDMax) {
		return "", nil, invalid(op, `"id" is too long or has unprintable characters`)
	}
	m := newMessage(e.Type)
	if m == nil {
		return "", nil, &epu.Error{
			Kind: epu.Invalid, Op: op, Err: fmt.Errorf("this node does not know the message %q", clip(e.Type)),
			Try: "look up its name in remote.proto; the client may be newer than the node",
		}
	}
	if len(e.Body) == 0 {
		return e.ID, m, nil
	}
	if err := (protojson.UnmarshalOptions{}).Unmarshal(e.Body, m); err != nil {
		return "", nil, epu.E(epu.Invalid, op, e.Type, errors.New(reason(err)))
	}
	return e.ID, m, nil
}

// newMessage makes one of our messages by its short name, or nil.
func newMessage(name string) proto.Message {
	ours := (&msg.Request{}).ProtoReflect().Descriptor().ParentFile().Messages().ByName(protoreflect.Name(name))
	if ours == nil {
		return nil
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(ours.FullName())
	if err != nil {
		return nil
	}
	return t.New().Interface()
}

// reason takes the library's name, and the spaces that it varies on purpose, out of its error.
func reason(err error) string {
	text := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\u00a0", " ")), " ")
	return clip(strings.TrimPrefix(text, "proto: "))
}
