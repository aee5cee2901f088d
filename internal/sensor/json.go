package sensor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/nimbus-epu/epu"
)

// json reads a number in a JSON document.
func (p *Puller) json(ctx context.Context, q epu.SensorQuery) (float64, error) {
	address, err := url.Parse(q.URL)
	if err != nil {
		return 0, epu.E(epu.Invalid, "ask", "", errors.New("the address is none"))
	}
	a, err := p.get(ctx, address, q)
	if err != nil {
		return 0, err
	}
	on := place(address)
	if err := a.refused(on, ""); err != nil {
		return 0, err
	}
	value, err := field(a.body, q.Field)
	if err != nil {
		return 0, epu.E(epu.Invalid, "read the answer of", on, err)
	}
	return value, nil
}

// field finds the number that a JSON pointer (RFC 6901) points at.
func field(document []byte, pointer string) (float64, error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var at any
	if err := d.Decode(&at); err != nil || d.More() {
		return 0, errors.New("it is not one JSON document")
	}
	if pointer != "" && !strings.HasPrefix(pointer, "/") {
		return 0, fmt.Errorf("%q is no JSON pointer", pointer)
	}
	seen := ""
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch in := at.(type) {
		case map[string]any:
			next, ok := in[token]
			if !ok {
				return 0, fmt.Errorf("there is no member %q in %q", token, seen)
			}
			at = next
		case []any:
			i, err := strconv.ParseUint(token, 10, 31)
			if err != nil || len(token) > 1 && token[0] == '0' || i >= uint64(len(in)) {
				return 0, fmt.Errorf("there is no item %q in the list %q of %d", token, seen, len(in))
			}
			at = in[i]
		default:
			return 0, fmt.Errorf("%q is %s and has no member %q", seen, kindOf(at), token)
		}
		seen += "/" + token
	}
	n, ok := at.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%q is %s, not a number", pointer, kindOf(at))
	}
	return number(n.String())
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case []any:
		return "a list"
	}
	return "an object"
}
