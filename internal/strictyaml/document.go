package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds on one file.
const (
	fileBytesMax = 1 << 20
	documentsMax = 1000
	depthMax     = 32
)

// yamlLine finds the line in an error of the YAML parser.
var yamlLine = regexp.MustCompile(`^line (\d+): `)

// Documents reads the documents of one file. What can't be read is in the log; empty documents are
// left out. Each Map has its own record of origins.
func Documents(file string, content []byte, log *Log) []*Map {
	if len(content) > fileBytesMax {
		log.Add(Problem{File: file, Text: fmt.Sprintf("the file has %d bytes, more than %d", len(content), fileBytesMax), Try: "split it"})
		return nil
	}
	if bytes.IndexByte(content, 0) >= 0 {
		log.Add(Problem{File: file, Text: "the file is not text", Try: "a YAML file in UTF-8"})
		return nil
	}
	var maps []*Map
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for range documentsMax {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return maps
		}
		if err != nil {
			log.Add(syntaxProblem(file, err))
			return maps
		}
		if len(doc.Content) == 0 || isNull(doc.Content[0]) {
			continue
		}
		root := Value{node: doc.Content[0], line: max(doc.Content[0].Line, 1), file: file, log: log, origins: map[string]string{}}
		if root.sound(root.node, 0) {
			maps = append(maps, root.Map())
		}
	}
	log.Add(Problem{File: file, Text: fmt.Sprintf("the file has more than %d documents", documentsMax), Try: "split it"})
	return maps
}

// syntaxProblem turns an error of the YAML parser into a problem with its line.
func syntaxProblem(file string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{File: file, Line: 1}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	p.Text = "not valid YAML: " + text
	p.Try = "look for a missing colon, quote or bracket, or a tab, on this line or the one before"
	return p
}

// sound reports that a tree has no aliases and is not too deep; what it finds is in the log.
func (v Value) sound(n *yaml.Node, depth int) bool {
	at := Value{node: n, line: n.Line, file: v.file, log: v.log}
	if depth > depthMax {
		at.Fail("nested too deeply", "")
		return false
	}
	if n.Kind == yaml.AliasNode {
		at.Fail("aliases (*name) are not supported", "write the value out")
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = v.sound(c, depth+1) && ok
	}
	return ok
}

// isNull reports a value that was left empty, or written as null or ~.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}
