package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-faster/jx"
)

// blockMax is how much text shares an allocation at most. It is freed with the last of its texts.
const blockMax = 1 << 10

// Reader reads one value after the other. After a failure it reads nothing more: the error is that of Rows.
type Reader struct {
	d     *jx.Decoder
	err   error
	block strings.Builder   // texts are cut from it
	room  int               // of a block: less in a small snapshot
	words map[string]string // texts that many rows have
	word  string            // the last of them
	many  int               // elements of the last list: the next one is likely to have as many
}

// Rows splits the object raw: row is told of each member of the object that is called name, by its key, and must
// read its value. The others are returned, as an object.
func Rows(raw []byte, name string, row func(r *Reader, key string)) (rest json.RawMessage, err error) {
	r := &Reader{d: jx.DecodeBytes(raw), room: min(blockMax, len(raw)/8), words: map[string]string{}}
	rest = append(rest, '{')
	r.Object(func(key []byte) {
		if string(key) == name {
			r.Object(func(key []byte) { row(r, string(key)) })
			return
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		quoted, err := json.Marshal(string(key))
		r.fail(err)
		rest = append(append(append(rest, quoted...), ':'), r.raw()...)
	})
	if r.err == nil && r.d.Skip() != io.EOF {
		r.fail(errors.New("something follows the object"))
	}
	return append(rest, '}'), r.err
}

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *Reader) raw() []byte {
	raw, err := r.d.Raw()
	r.fail(err)
	return raw
}

// null takes a null, which leaves a field as it is. Only lists and objects can be null: encoding/json writes no
// others for a row's fields.
func (r *Reader) null() bool {
	if r.err != nil {
		return true
	}
	if r.d.Next() != jx.Null {
		return false
	}
	r.fail(r.d.Null())
	return true
}

// Object reads an object: member must read the value of each of its members, or Skip it.
func (r *Reader) Object(member func(key []byte)) {
	if r.null() {
		return
	}
	r.fail(r.d.ObjBytes(func(_ *jx.Decoder, key []byte) error {
		member(key)
		return r.err
	}))
}

// List reads an array: elem must read each of its elements. It has no room for more: rows stay as many as they are.
func List[T any](r *Reader, into *[]T, elem func(*T)) {
	if r.null() {
		return
	}
	list := make([]T, 0, r.many)
	r.fail(r.d.Arr(func(*jx.Decoder) error {
		list = slices.Grow(list, 1)[:len(list)+1]
		elem(&list[len(list)-1])
		return r.err
	}))
	if r.many = len(list); cap(list) > r.many {
		list = slices.Clone(list)
	}
	*into = list
}

// Skip leaves a value out.
func (r *Reader) Skip() {
	if r.err == nil {
		r.fail(r.d.Skip())
	}
}

// JSON reads a value that few rows have, as encoding/json does.
func (r *Reader) JSON(into any) {
	if r.err != nil {
		return
	}
	if raw := r.raw(); r.err == nil {
		r.fail(json.Unmarshal(raw, into))
	}
}

// Bool reads a boolean.
func (r *Reader) Bool(into *bool) {
	if r.err != nil {
		return
	}
	v, err := r.d.Bool()
	r.fail(err)
	*into = v
}

// Time reads a time.
func (r *Reader) Time(into *time.Time) {
	if r.err != nil {
		return
	}
	text, err := r.d.StrBytes()
	r.fail(err)
	if r.err == nil {
		r.fail(into.UnmarshalText(text))
	}
}

// Int reads a whole number.
func Int[N ~int | ~int16 | ~int64 | ~uint8](r *Reader, into *N) {
	if r.err != nil {
		return
	}
	v, err := r.d.Int64()
	r.fail(err)
	if *into = N(v); int64(*into) != v {
		r.fail(fmt.Errorf("%d does not fit into %T", v, *into))
	}
}

// Uint reads a whole number that may be larger than Int's, and is not negative.
func Uint[N ~uint64](r *Reader, into *N) {
	if r.err != nil {
		return
	}
	v, err := r.d.UInt64()
	r.fail(err)
	*into = N(v)
}

// Text reads a text that is this row's own.
func Text[S ~string](r *Reader, into *S) {
	if r.err != nil {
		return
	}
	text, err := r.d.StrBytes()
	r.fail(err)
	*into = S(r.cut(text))
}

// Word reads a text that many rows share, such as the name of a zone.
func Word[S ~string](r *Reader, into *S) {
	if r.err != nil {
		return
	}
	text, err := r.d.StrBytes()
	r.fail(err)
	if r.word != string(text) {
		word, ok := r.words[string(text)]
		if !ok {
			word = r.cut(text)
			r.words[word] = word
		}
		r.word = word
	}
	*into = S(r.word)
}

// cut keeps a text in the block. What is in a block stays as it is, also when there is a next one.
func (r *Reader) cut(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if r.block.Cap()-r.block.Len() < len(text) {
		r.block.Reset()
		r.block.Grow(max(r.room, len(text)))
	}
	at := r.block.Len()
	r.block.Write(text)
	return r.block.String()[at:]
}
