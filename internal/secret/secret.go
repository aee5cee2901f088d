package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nimbus-epu/epu"
)

// BytesMax bounds a secret.
const BytesMax = 64 << 10

// Read gives the value of a variable: its literal, or what env:NAME or file:PATH holds, without the
// newline at the end. An empty secret is an error, and errors never repeat what was read.
func Read(v epu.Var, getenv func(string) string) (string, error) {
	const op = "read the secret"
	if v.From == "" {
		return v.Value, nil
	}
	kind, name, _ := strings.Cut(v.From, ":")
	var value string
	switch kind {
	case "env":
		value = getenv(name)
	case "file":
		text, err := file(name)
		if err != nil {
			return "", &epu.Error{Kind: epu.Denied, Op: op, On: v.From, Err: err, Try: "make the file readable for this program's user"}
		}
		value = text
	default:
		return "", &epu.Error{Kind: epu.Invalid, Op: op, On: v.From, Err: errors.New("it is neither env:NAME nor file:PATH")}
	}
	if value == "" {
		return "", &epu.Error{Kind: epu.Denied, Op: op, On: v.From, Err: errors.New("it is empty or not set")}
	}
	return value, nil
}

func file(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err // the path stands in the error around it
		}
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, BytesMax+1))
	if err != nil {
		return "", errors.New("it can't be read")
	}
	if len(text) > BytesMax {
		return "", fmt.Errorf("it is larger than %d bytes", BytesMax)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
