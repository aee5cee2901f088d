package doctest

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nimbus-epu/epu/internal/resource"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// checkBlocks checks every fenced block of a page by its kind.
func (c commands) checkBlocks(p page) []problem {
	var found []problem
	var known resource.Set
	for _, b := range p.blocks {
		switch b.kind {
		case "text":
		case "console":
			found = append(found, c.checkConsole(b)...)
			if strings.Contains(b.text, "$ epud dev\n") {
				known = c.sample
			}
		case "yaml":
			found = append(found, checkResource(b, &known)...)
		case "yaml fragment":
			found = append(found, checkFragment(b)...)
		case "lua":
			found = append(found, checkLua(b)...)
		case "json":
			if !json.Valid([]byte(b.text)) {
				found = append(found, b.problem(0, "not valid JSON"))
			}
		case "go":
			found = append(found, checkGo(b)...)
		case "unclosed":
			found = append(found, b.problem(0, "the block is not closed"))
		default:
			found = append(found, b.problem(0, "no check for blocks of kind %q: use one that has a check, or text", b.kind))
		}
	}
	return found
}

// checkResource reads a block as an operator's file. What stands above it on the page counts as applied.
func checkResource(b block, known *resource.Set) []problem {
	if !strings.Contains(b.text, "schema: epu/v1") {
		return []problem{b.problem(0, "neither a document with `schema: epu/v1` nor marked as `yaml fragment`")}
	}
	// Blank lines in front keep the line numbers those of the page.
	content := strings.Repeat("\n", b.line-1) + b.text
	set, bad := resource.Parse([]resource.File{{Path: b.page, Content: []byte(content)}}, resource.Options{Known: *known})
	var found []problem
	for _, p := range bad {
		text := p.Text
		if p.Key != "" {
			text = p.Key + ": " + text
		}
		found = append(found, problem{page: b.page, line: p.Line, text: text})
	}
	known.Pools = append(known.Pools, set.Pools...)
	known.Sites = append(known.Sites, set.Sites...)
	known.Types = append(known.Types, set.Types...)
	return found
}

func checkFragment(b block) []problem {
	decoder := yaml.NewDecoder(strings.NewReader(b.text))
	for {
		var any yaml.Node
		err := decoder.Decode(&any)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return []problem{b.problem(0, "%v", err)}
		}
	}
}

// checkLua loads a block as a policy, with the stock library for what it requires.
func checkLua(b block) []problem {
	// Blank lines in front keep the line numbers those of the page.
	source := strings.Repeat("\n", b.line-1) + b.text
	if _, err := policies.Compile("page", []byte(source), scripts.Policies()); err != nil {
		return []problem{b.problem(0, "%v", err)}
	}
	return nil
}

// checkGo parses a whole file, declarations, or statements.
func checkGo(b block) []problem {
	var first error
	for _, around := range []string{b.text, "package p\n" + b.text, "package p\nfunc _() {\n" + b.text + "}\n"} {
		_, err := parser.ParseFile(token.NewFileSet(), "", around, 0)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return []problem{b.problem(0, "%v", first)}
}
