package reference

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/policytest"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// File is one generated file, by its path in the repository.
type File struct{ Path, Text string }

// Files are all generated files.
func Files() []File {
	return []File{
		{"scripts/policies/epu.d.lua", Types()},
		{"scripts/policies/.luarc.json", Luarc()},
		{"scripts/policies/.luacheckrc", Luacheckrc()},
		{"docs/reference/policy-api.md", Page()},
	}
}

const notice = "Generated from the tables of package policies by make generate; do not edit."

// ours are the groups that plain Lua does not have.
func ours(group string) bool {
	return slices.Contains([]string{"control", "state", "cron", "text", policytest.Table}, group)
}

// functions are what policies and their tests can call.
func functions() []policies.Function {
	return slices.Concat(policies.Functions(), policytest.Functions())
}

// classes are the tables and views that functions speak of.
func classes() []policies.Class { return slices.Concat(policies.Classes(), policytest.Classes()) }

// Types describes to editors what the host gives, for the Lua language server.
func Types() string {
	var b strings.Builder
	fmt.Fprintf(&b, "---@meta\n-- %s\n", notice)
	for _, c := range classes() {
		parent := ""
		if c.Parent != "" {
			parent = " : " + c.Parent
		}
		fmt.Fprintf(&b, "\n---%s\n---@class %s%s\n", c.Doc, c.Name, parent)
		for _, f := range c.Fields {
			name, typ := optional(f)
			fmt.Fprintf(&b, "---@field %s %s %s\n", name, typ, f.Doc)
		}
	}
	groups := map[string]bool{}
	for _, f := range functions() {
		if !ours(f.Group) {
			continue
		}
		if !groups[f.Group] {
			groups[f.Group] = true
			opening(&b, f.Group)
		}
		if f.Field {
			continue
		}
		fmt.Fprintf(&b, "\n---%s\n", f.Doc)
		var names []string
		for _, p := range f.Params() {
			names = append(names, p.Name)
			mark := ""
			if p.Optional {
				mark = "?"
			}
			fmt.Fprintf(&b, "---@param %s%s %s\n", p.Name, mark, p.Type)
		}
		for _, r := range results(f) {
			fmt.Fprintf(&b, "---@return %s\n", r)
		}
		fmt.Fprintf(&b, "function %s(%s) end\n", f.Full(), strings.Join(names, ", "))
	}
	return b.String()
}

// opening declares the table of a group; control and state are arguments, the others globals.
func opening(b *strings.Builder, group string) {
	class, local := "epu."+strings.ToUpper(group[:1])+group[1:], "local "
	if group != "control" && group != "state" {
		local = ""
	}
	fmt.Fprintf(b, "\n---@class %s\n", class)
	for _, f := range functions() {
		if f.Group == group && f.Field {
			fmt.Fprintf(b, "---@field %s %s %s\n", f.Name, f.Returns, f.Doc)
		}
	}
	fmt.Fprintf(b, "%s%s = {}\n", local, group)
}

// optional moves the question mark of a type to the name, where the language server wants it.
func optional(f sandbox.Attr) (name, typ string) {
	if typ, ok := strings.CutSuffix(f.Type, "?"); ok {
		return f.Name + "?", typ
	}
	return f.Name, f.Type
}

// results are the types of what a function returns.
func results(f sandbox.Func) []string {
	switch {
	case f.Returns == "":
		return nil
	case strings.HasPrefix(f.Returns, "fun("):
		return []string{f.Returns}
	}
	return strings.Split(f.Returns, ", ")
}

// Luarc is the settings of the Lua language server for a folder of policies.
func Luarc() string {
	return `{
  "$schema": "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",
  "runtime.version": "Lua 5.1",
  "runtime.path": ["?.lua"],
  "runtime.builtin": {
    "bit": "disable", "bit32": "disable", "coroutine": "disable", "debug": "disable", "ffi": "disable", "io": "disable",
    "jit": "disable", "os": "disable", "package": "disable", "utf8": "disable"
  },
  "workspace.library": ["epu.d.lua"],
  "workspace.checkThirdParty": false
}
`
}

// Luacheckrc is the settings of luacheck for a folder of policies: the globals that there are, and no
// others.
func Luacheckrc() string {
	globals, members := policies.Names()
	var b strings.Builder
	fmt.Fprintf(&b, "-- %s\nstds.epu = {\n  read_globals = {\n", notice)
	slices.Sort(globals)
	for _, name := range globals {
		fields, isLib := members[name]
		if !isLib {
			fmt.Fprintf(&b, "    %q,\n", name)
			continue
		}
		slices.Sort(fields)
		for i := range fields {
			fields[i] = fmt.Sprintf("%q", fields[i])
		}
		fmt.Fprintf(&b, "    %s = { fields = { %s } },\n", name, strings.Join(fields, ", "))
	}
	b.WriteString(`  },
}
stds.epu_test = { read_globals = { "test" } }
std = "epu"
unused_args = false
max_line_length = false
exclude_files = { "*.d.lua" }
files["*_test.lua"] = { std = "epu+epu_test" }
`)
	return b.String()
}
