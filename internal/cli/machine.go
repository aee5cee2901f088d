package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu/internal/document"
)

// Schema is the version of our machine output. It changes only when a field loses its meaning.
const Schema = document.Schema

// Message is a protobuf message as a part of a struct that becomes JSON.
type Message = document.Message

// Document is one answer for machines on one line.
func Document(typ string, data any) ([]byte, error) { return document.Encode(typ, data) }

// Messages makes parts of a struct; it is never nil, so that JSON has an empty list.
func Messages[T proto.Message](list []T) []Message { return document.Messages(list) }

// TypeOf is a message's type in machine output: PoolStatus is pool-status.
func TypeOf(m proto.Message) string { return document.TypeOf(m) }

func (p *Printer) json(v View) error {
	doc, err := Document(v.Type, v.Data)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, doc, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Out, "%s\n", b.Bytes())
	return err
}

// jsonl prints one line for each thing of the answer, or one for the answer when it is one thing.
func (p *Printer) jsonl(v View) error {
	if len(v.Tables) == 0 {
		return p.jsonLine(v.Type, v.Data)
	}
	for _, t := range v.Tables {
		for _, r := range t.Rows {
			if err := p.row(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Printer) row(r Row) error {
	if r.Message == nil {
		return p.jsonLine(r.Type, r.Data)
	}
	return p.jsonLine(TypeOf(r.Message), r.Message)
}

func (p *Printer) jsonLine(typ string, data any) error {
	doc, err := Document(typ, data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Out, "%s\n", doc)
	return err
}

// yaml prints the same document as json. It goes through YAML nodes, which keep the order of fields.
func (p *Printer) yaml(v View) error {
	doc, err := Document(v.Type, v.Data)
	if err != nil {
		return err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(doc, &n); err != nil {
		return fmt.Errorf("write %s as YAML: %w", v.Type, err)
	}
	block(&n)
	enc := yaml.NewEncoder(p.Out)
	enc.SetIndent(2)
	if err := enc.Encode(&n); err != nil {
		return fmt.Errorf("write %s as YAML: %w", v.Type, err)
	}
	return enc.Close()
}

// block turns the flow style of JSON into YAML's own; strings keep quotes where they need them. Older
// readers take yes, no, on and off for truth values, so those keep theirs too.
func block(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		switch strings.ToLower(n.Value) {
		case "y", "n", "yes", "no", "on", "off":
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, c := range n.Content {
		block(c)
	}
}
