package keyvalue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	bytesMax = 1 << 20 // of a file or a value
	depthMax = 32      // of lists and maps inside one another
)

// integerMax is the largest integer that a protobuf Struct, which knows only doubles, holds exactly.
const integerMax = 1 << 53

var keyPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// Parse reads arguments of the form key=value. A key may be given once. The error names all that is wrong.
func Parse(args []string) (*structpb.Struct, error) {
	out := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
	var wrong []string
	for _, arg := range args {
		if err := add(out.Fields, arg); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if wrong != nil {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return out, nil
}

func add(fields map[string]*structpb.Value, arg string) error {
	key, text, found := strings.Cut(arg, "=")
	if !found {
		return fmt.Errorf("%q has no =: write key=value", arg)
	}
	if err := checkKey(key); err != nil {
		return err
	}
	if _, twice := fields[key]; twice {
		return fmt.Errorf("%q is given twice", key)
	}
	v, err := value(text)
	if err != nil {
		return fmt.Errorf("value of %q: %w", key, err)
	}
	fields[key] = v
	return nil
}

// Keys reads arguments that are names of settings, or several with commas between them. A name may be given once.
func Keys(args []string) (keys []string, err error) {
	var wrong []string
	for _, arg := range args {
		for key := range strings.SplitSeq(arg, ",") {
			key = strings.TrimSpace(key)
			switch err := checkKey(key); {
			case err != nil:
				wrong = append(wrong, err.Error())
			case slices.Contains(keys, key):
				wrong = append(wrong, fmt.Sprintf("%q is given twice", key))
			default:
				keys = append(keys, key)
			}
		}
	}
	if wrong != nil {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return keys, nil
}

// ParseFile reads a YAML file that holds one map of settings.
func ParseFile(content []byte) (*structpb.Struct, error) {
	s, _, err := ParseLines(content)
	return s, err
}

// Lines says in which line of a file each setting stands.
type Lines map[string]int

// ParseLines is ParseFile that also says where the settings stand.
func ParseLines(content []byte) (*structpb.Struct, Lines, error) {
	root, err := document(content)
	if err != nil {
		return nil, nil, err
	}
	if root == nil || root.Kind != yaml.MappingNode {
		return nil, nil, errors.New("it must hold a map of settings, such as preserve_n: 4")
	}
	v, err := convert(root, 0)
	switch {
	case err != nil && !strings.HasPrefix(err.Error(), "line "): // as it is said of arguments, which have one
		return nil, nil, fmt.Errorf("line 1: %w", err)
	case err != nil:
		return nil, nil, err
	}
	lines := Lines{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		k := root.Content[i]
		if err := checkKey(k.Value); err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", k.Line, err)
		}
		lines[k.Value] = k.Line
	}
	return v.GetStructValue(), lines, nil
}

// Merge gives the settings of both; those of over win.
func Merge(base, over *structpb.Struct) *structpb.Struct {
	out := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
	for _, s := range []*structpb.Struct{base, over} {
		for k, v := range s.GetFields() {
			out.Fields[k] = v
		}
	}
	return out
}

func checkKey(key string) error {
	switch {
	case keyPattern.MatchString(key):
		return nil
	case strings.Contains(key, "."):
		first, _, _ := strings.Cut(key, ".")
		return fmt.Errorf("%q: whole top-level values are replaced, so give all of %q: %s={...}", key, first, first)
	}
	return fmt.Errorf("%q is no name of a setting", key)
}

// value reads one value; nothing after the = is the empty text, not YAML's null.
func value(text string) (*structpb.Value, error) {
	n, err := document([]byte(text))
	if err != nil {
		return nil, err
	}
	if n == nil {
		return structpb.NewStringValue(""), nil
	}
	return convert(n, 0)
}

// document gives the root of the only document, or nil when there is nothing.
func document(content []byte) (*yaml.Node, error) {
	if len(content) > bytesMax {
		return nil, fmt.Errorf("longer than %d bytes", bytesMax)
	}
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document")
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

func convert(n *yaml.Node, depth int) (*structpb.Value, error) {
	if depth > depthMax {
		return nil, at(n, "nested more than %d deep", depthMax)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return mapping(n, depth)
	case yaml.SequenceNode:
		list := &structpb.ListValue{}
		for _, c := range n.Content {
			v, err := convert(c, depth+1)
			if err != nil {
				return nil, err
			}
			list.Values = append(list.Values, v)
		}
		return structpb.NewListValue(list), nil
	case yaml.ScalarNode:
		return scalar(n)
	}
	return nil, at(n, "aliases are not allowed: write the value where it is meant")
}

func mapping(n *yaml.Node, depth int) (*structpb.Value, error) {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			return nil, at(k, "a key must be a plain word")
		}
		if _, twice := s.Fields[k.Value]; twice {
			return nil, at(k, "key %q is given twice", k.Value)
		}
		v, err := convert(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		s.Fields[k.Value] = v
	}
	return structpb.NewStructValue(s), nil
}

func scalar(n *yaml.Node) (*structpb.Value, error) {
	switch n.ShortTag() {
	case "!!null":
		return structpb.NewNullValue(), nil
	case "!!bool":
		var b bool
		if err := n.Decode(&b); err != nil {
			return nil, at(n, "%q is neither true nor false", n.Value)
		}
		return structpb.NewBoolValue(b), nil
	case "!!int":
		i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64)
		if err != nil || i > integerMax || i < -integerMax {
			return nil, at(n, "integer %s is beyond +-2^53; quote it if it is a name", n.Value)
		}
		return structpb.NewNumberValue(float64(i)), nil
	case "!!float":
		var f float64
		if err := n.Decode(&f); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, at(n, "%s is no finite number", n.Value)
		}
		return structpb.NewNumberValue(f), nil
	case "!!str", "!!timestamp": // a date stays the text it is: no policy parameter is a point in time
		return structpb.NewValue(n.Value)
	}
	return nil, at(n, "type %s is not supported", n.ShortTag())
}

func at(n *yaml.Node, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if n.Line > 1 {
		return fmt.Errorf("line %d: %s", n.Line, text)
	}
	return errors.New(text)
}
