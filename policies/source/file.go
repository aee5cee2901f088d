package source

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// SizeMax is how long a file may be, in bytes.
const SizeMax = 256 << 10

// File is one compiled source.
type File struct {
	Name  string // as it stands in error texts
	Text  string
	Proto *lua.FunctionProto
	lines map[string]int // of the keys of params, where they are written out
	keys  map[string]int // of those of the returned table
}

// Compile turns a source into code that a budget can bound. Globals are those that there are.
func Compile(name string, src []byte, globals []string) (f *File, problems params.Problems) {
	defer func() { // the compiler panics where it meets its own limits
		if r := recover(); r != nil {
			f, problems = nil, params.Problems{{File: name, Text: fmt.Sprintf("can't be compiled: %v", r)}}
		}
	}()
	chunk, problems := parsed(name, src)
	if problems != nil {
		return nil, problems
	}
	f = &File{Name: name, Text: string(src)}
	f.keys, f.lines = keyLines(chunk)
	if deep := sandbox.Rewrite(chunk); deep != nil {
		return nil, params.Problems{{File: name, Line: deep.Line, Text: deep.Error()}}
	}
	var err error
	if f.Proto, err = lua.Compile(chunk, name); err != nil {
		return nil, params.Problems{{File: name, Text: strings.TrimSpace(err.Error())}}
	}
	return f, strangers(name, f.Proto, globals)
}

// Line compiles what somebody types at a console: of an expression the values are returned, and globals may be
// set. More means that the text is the beginning of something that goes on in the next line.
func Line(name, text string) (proto *lua.FunctionProto, more bool, problems params.Problems) {
	defer func() { // the compiler panics where it meets its own limits
		if r := recover(); r != nil {
			proto, problems = nil, params.Problems{{File: name, Text: fmt.Sprintf("can't be compiled: %v", r)}}
		}
	}()
	lead := text[:len(text)-len(strings.TrimLeft(text, "\n"))] // which count the lines before
	value := lead + "return " + text[len(lead):]
	chunk, problems := parsed(name, []byte(value))
	if problems != nil {
		if chunk, problems = parsed(name, []byte(text)); problems != nil {
			return nil, len(text) <= SizeMax && (goesOn(value) || goesOn(text)), problems
		}
	}
	if deep := sandbox.Rewrite(chunk); deep != nil {
		return nil, false, params.Problems{{File: name, Line: deep.Line, Text: deep.Error()}}
	}
	proto, err := lua.Compile(chunk, name)
	if err != nil {
		return nil, false, params.Problems{{File: name, Text: strings.TrimSpace(err.Error())}}
	}
	return proto, false, nil
}

// goesOn says that a text that does not parse ends too early.
func goesOn(text string) bool {
	_, err := parse.Parse(strings.NewReader(text), "")
	e, ok := err.(*parse.Error)
	return ok && e.Pos.Line == parse.EOF
}

// parsed is the tree of a source.
func parsed(name string, src []byte) ([]ast.Stmt, params.Problems) {
	if len(src) > SizeMax {
		return nil, params.Problems{{File: name, Text: fmt.Sprintf("is %d bytes long: at most %d", len(src), SizeMax)}}
	}
	if !utf8.Valid(src) { // it is stored, sent and shown as a text
		line := 1
		for text := range bytes.Lines(src) {
			if !utf8.Valid(text) {
				break
			}
			line++
		}
		return nil, params.Problems{{File: name, Line: line, Text: "is not written in UTF-8", Try: "save it in that encoding; a single byte in a text is \\255"}}
	}
	chunk, err := parse.Parse(strings.NewReader(string(src)), name)
	if err != nil {
		return nil, params.Problems{syntaxProblem(name, src, err)}
	}
	return chunk, nil
}

func syntaxProblem(name string, src []byte, err error) params.Problem {
	e, ok := err.(*parse.Error)
	if !ok {
		return params.Problem{File: name, Text: err.Error()}
	}
	text := e.Message
	if e.Pos.Line == parse.EOF { // its token is the last one that was read, which is not at fault
		last := bytes.Count(bytes.TrimRight(src, "\n"), []byte("\n")) + 1
		return params.Problem{File: name, Line: last, Text: text + " at the end of the file: an `end`, a bracket or a quote is missing, here or further up"}
	}
	if e.Token != "" {
		text += fmt.Sprintf(" near '%s'", params.Clip(e.Token, 40))
	}
	return params.Problem{File: name, Line: max(e.Pos.Line, 0), Text: text}
}

// strangers finds the globals that a source reads and nobody defines, and those it tries to set. The
// compiled code names them all, so a misspelt name in a rare branch is found when the policy is loaded.
func strangers(name string, proto *lua.FunctionProto, globals []string) (out params.Problems) {
	known := map[string]bool{sandbox.ConcatName: true}
	for _, n := range globals {
		known[n] = true
	}
	var walk func(f *lua.FunctionProto)
	walk = func(f *lua.FunctionProto) {
		for pc, inst := range f.Code {
			op := int(inst >> 26)
			if op != lua.OP_GETGLOBAL && op != lua.OP_SETGLOBAL {
				continue
			}
			global := f.Constants[inst&0x3ffff].String()
			at := params.Problem{File: name, Line: f.DbgSourcePositions[pc]}
			if op == lua.OP_SETGLOBAL {
				at.Text = fmt.Sprintf("sets the global '%s': write `local %s`, or keep it in state.memory", global, global)
			} else if !known[global] {
				at.Text = sandbox.UnknownName(global, global, globals)
			} else {
				continue
			}
			out = append(out, at)
		}
		for _, inner := range f.FunctionPrototypes {
			walk(inner)
		}
	}
	walk(proto)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Line < out[j].Line })
	return out
}

// keyLines finds the lines of the keys of the returned table and of its params, where they are written out.
func keyLines(chunk []ast.Stmt) (keys, ofParams map[string]int) {
	if len(chunk) == 0 {
		return nil, nil
	}
	r, ok := chunk[len(chunk)-1].(*ast.ReturnStmt)
	if !ok || len(r.Exprs) == 0 {
		return nil, nil
	}
	t, _ := r.Exprs[0].(*ast.TableExpr)
	for _, f := range fieldsOf(t) {
		if k, ok := f.Key.(*ast.StringExpr); ok && k.Value == "params" {
			inner, _ := f.Value.(*ast.TableExpr)
			ofParams = linesOf(inner)
		}
	}
	return linesOf(t), ofParams
}

func linesOf(t *ast.TableExpr) map[string]int {
	lines := map[string]int{}
	for _, f := range fieldsOf(t) {
		if k, ok := f.Key.(*ast.StringExpr); ok {
			lines[k.Value] = max(k.Line(), f.Value.Line())
		}
	}
	return lines
}

// KeyLine is where a key of the returned table is given; 0 when it is not written out.
func (f *File) KeyLine(key string) int { return f.keys[key] }

// Line is where a parameter is declared; 0 when it is not written out.
func (f *File) Line(param string) int { return f.lines[param] }

func fieldsOf(t *ast.TableExpr) []*ast.Field {
	if t == nil {
		return nil
	}
	return t.Fields
}
