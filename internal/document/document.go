package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Schema is the version of our machine output. It changes only when a field loses its meaning.
const Schema = "epu/v1"

// Encode writes one answer for machines on one line: the schema, the type, and then the fields of the
// message under their names in remote.proto, zero values included. As in all JSON of protobuf, 64-bit
// integers are strings and times are RFC 3339 in UTC.
func Encode(typ string, data any) ([]byte, error) {
	var raw []byte
	var err error
	if m, ok := data.(proto.Message); ok {
		raw, err = machineJSON.Marshal(m)
	} else {
		raw, err = json.Marshal(data)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s as JSON: %w", typ, err)
	}
	head, err := json.Marshal(struct {
		Schema string `json:"schema"`
		Type   string `json:"type"`
	}{Schema, typ})
	if err != nil {
		return nil, fmt.Errorf("write %s as JSON: %w", typ, err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil { // protojson varies its spaces on purpose
		return nil, fmt.Errorf("write %s as JSON: %w", typ, err)
	}
	fields := bytes.TrimPrefix(b.Bytes(), []byte("{"))
	if string(fields) == "}" {
		return head, nil
	}
	return append(append(bytes.TrimSuffix(head, []byte("}")), ','), fields...), nil
}

// Message is a protobuf message as a part of a struct that becomes JSON.
type Message struct{ proto.Message }

// MarshalJSON writes the message as Encode does.
func (m Message) MarshalJSON() ([]byte, error) { return machineJSON.Marshal(m.Message) }

// Messages makes parts of a struct; it is never nil, so that JSON has an empty list.
func Messages[T proto.Message](list []T) []Message {
	parts := make([]Message, 0, len(list))
	for _, m := range list {
		parts = append(parts, Message{m})
	}
	return parts
}

// machineJSON is how every message looks to machines.
var machineJSON = protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}

// TypeOf is a message's type in machine output: PoolStatus is pool-status.
func TypeOf(m proto.Message) string {
	var b strings.Builder
	for i, r := range string(m.ProtoReflect().Descriptor().Name()) {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
