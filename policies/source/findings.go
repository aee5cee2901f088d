package source

import (
	"fmt"
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// FindingClass is one of the problems that a policy's validate returns.
var FindingClass = sandbox.Class{Name: "epu.Finding", Doc: "One thing that is wrong with a configuration, of those that validate returns.", Fields: []sandbox.Attr{
	{Name: "at", Type: "string|(string|integer)[]|nil", Doc: "where: a parameter, or the way to a value within one, such as {\"lines\", 2, \"cron\"}; entries of lists count from 1 here, and from 0 where operators read it: lines[1].cron"},
	{Name: "text", Type: "string", Doc: "what is wrong, without the place"},
}}

// Bounds of what validate returns.
const (
	findingsMax = 100 // more are left out
	findingText = 2000
	pathMax     = 32
)

// Findings takes what validate returned: nothing, or a list of all that is wrong.
func (f *File) Findings(v lua.LValue) (problems []params.Problem) {
	if v == lua.LNil {
		return nil
	}
	list, ok := v.(*lua.LTable)
	if !ok {
		return f.noFinding("validate returned " + sandbox.KindOf(v))
	}
	for i := 1; i <= min(list.Len(), findingsMax); i++ {
		t, ok := list.RawGetInt(i).(*lua.LTable)
		if !ok {
			return f.noFinding(fmt.Sprintf("entry %d of what validate returned is %s", i, sandbox.KindOf(list.RawGetInt(i))))
		}
		text, ok := t.RawGetString("text").(lua.LString)
		key, sound := keyAt(t.RawGetString("at"))
		if !ok || !sound {
			return f.noFinding(fmt.Sprintf("entry %d of what validate returned has no good text or at", i))
		}
		problems = append(problems, params.Problem{Key: key, Text: params.Clip(string(text), findingText)})
	}
	if k, _ := list.Next(lua.LNil); k != lua.LNil && problems == nil {
		return f.noFinding("validate returned a table with the key " + sandbox.TextOf(k))
	}
	return problems
}

func (f *File) noFinding(text string) []params.Problem {
	return []params.Problem{{
		File: f.Name, Line: f.KeyLine("validate"), Text: text, Try: `return nothing, or a list such as {{at = "size", text = "must be even"}}`,
	}}
}

// keyAt is the key of a configuration, as operators read it, of the way to a value.
func keyAt(v lua.LValue) (key string, ok bool) {
	switch at := v.(type) {
	case *lua.LNilType:
		return "", true
	case lua.LString:
		return params.Clip(string(at), findingText), true
	case *lua.LTable:
		var b strings.Builder
		for i := 1; i <= at.Len(); i++ {
			switch step := at.RawGetInt(i).(type) {
			case lua.LString:
				if i > 1 {
					b.WriteByte('.')
				}
				b.WriteString(params.Clip(string(step), findingText))
			case lua.LNumber:
				if step < 1 || float64(step) != math.Trunc(float64(step)) || step > 1e9 {
					return "", false
				}
				fmt.Fprintf(&b, "[%d]", int(step)-1)
			default:
				return "", false
			}
		}
		return params.Clip(b.String(), findingText), at.Len() <= pathMax
	}
	return "", false
}
