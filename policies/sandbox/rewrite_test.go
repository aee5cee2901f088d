package sandbox_test

import (
	"fmt"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu/policies/sandbox"
)

// meter is a budget with tools, which is what an engine is for a state.
type meter struct {
	sandbox.Budget
	tools sandbox.Tools
}

func (m *meter) Tools() *sandbox.Tools { return &m.tools }

// run runs a source as a policy's is run and returns its first result as a text.
func run(src string) (string, error) {
	chunk, err := parse.Parse(strings.NewReader(src), "t")
	if err != nil {
		return "", err
	}
	if deep := sandbox.Rewrite(chunk); deep != nil {
		return "", deep
	}
	proto, err := lua.Compile(chunk, "t")
	if err != nil {
		return "", err
	}
	m := &meter{}
	m.Begin(sandbox.Limits{Steps: 1 << 20, Heap: 1 << 30})
	L := sandbox.NewShared(nil).NewState(m, sandbox.Bounds{CallDepth: 100, Registry: 16 << 10})
	defer L.Close()
	L.Push(L.NewFunctionFromProto(proto))
	if err := L.PCall(0, 1, nil); err != nil {
		return "", err
	}
	return L.Get(-1).String(), nil
}

// Goal: the operator ".." and calls in parentheses mean what they mean in plain Lua wherever they stand,
// also where gopher-lua alone would go wrong. Method: one shape each, with what Lua 5.1 answers.
func TestShapesOfConcatenation(t *testing.T) {
	for _, c := range []struct{ code, want string }{
		{`local function f(p) p = p .. "x" return p end return f("a")`, "ax"},
		{`local function f(p) p = p .. "x" .. p .. 1 return p end return f("a")`, "axa1"},
		{`local function f(a, p) p = a .. p p = p .. a return p end return f("a", "b")`, "aba"},
		{`local function f(a, p) a, p = p .. a, a .. p return a .. "," .. p end return f("a", "b")`, "ba,ab"},
		{`local function f(a, p) p, a = p .. a, a .. p return a .. "," .. p end return f("a", "b")`, "ab,ba"},
		{`local function f(a, p) p = a and p .. a or p return p end return f("a", "b")`, "ba"},
		{`local function f(p) p = p .. (p .. (p .. "x")) return p end return f("a")`, "aaax"},
		{`local function f(p, ...) p = p .. select("#", ...) .. (...) return p end return f("a", "b", "c")`, "a2b"},
		{`local function f(p, ...) p = p .. ... return p end return f("a", "b", "c")`, "ab"},
		{`local function f(p) p = (tostring(p)) return p end return f(1)`, "1"},
		{`local function f(p) local g = function() p = p .. "x" end g() g() return p end return f("a")`, "axx"},
		{`local function f(p) local g = function(p) p = p .. "y" return p end p = g(p) .. p return p end return f("a")`, "aya"},
		{`local function f(p) for i = 1, 3 do p = p .. i end return p end return f("a")`, "a123"},
		{`local function f(p) while #p < 3 do p = p .. "x" end repeat p = p .. "y" until #p > 4 return p end return f("a")`, "axxyy"},
		{`local function f(p) do local p = p .. "x" end p = p .. "y" return p end return f("a")`, "ay"},
		{`local function f(p) if p then p = p .. "x" else p = "y" end return p end return f("a")`, "ax"},
		{`local t = { n = "a" } function t:m() self = self.n .. "x" return self end return t:m()`, "ax"},
		{`local t = { n = "a" } function t:m(p) self.n = self.n .. p p = p .. self.n return p end return t:m("b")`, "bab"},
		{`local t = { n = "a" } function t.m(t) t = t.n .. "x" return t end return t.m(t)`, "ax"},
		{`local t = { up = function(_, s) return s:upper() end } local function f(p) p = (t:up(p .. "b")) return p end return f("a")`, "AB"},
		{`local t = {} t.a = "x" t.b = t.a .. t.a t[t.a .. t.b] = "z" return t.xxx .. t.b`, "zxx"},
		{`local t = { "a" .. "b", k = "c" .. "d", ["e" .. "f"] = "g" .. "h" } return t[1] .. t.k .. t.ef`, "abcdgh"},
		{`local function f(...) return ... end return f("a" .. "b") .. f("c", "d") .. (f("e", "f"))`, "abce"},
		{`local function f(p) return p .. "x" end return (f("a" .. f("b")))`, "abxx"},
		{`local function f(p) return p, p .. "y" end local a, b = f("a" .. "x") return a .. b`, "axaxy"},
		{`local s = "a" s = s .. "b" s = s .. s return s .. #s`, "abab4"},
		{`local s = "a" local f = function() s = s .. "b" return s end return f() .. f()`, "ababb"},
		{`local a, b, c = "1" .. "2", "3" return a .. b .. tostring(c)`, "123nil"},
		{`local a, b = ("1" .. "2"):rep(2), #("3" .. "4") return a .. b`, "12122"},
		{`local x = "a" .. "b" == "ab" and "c" .. "d" or "e" return x .. tostring(not ("a" .. "b"))`, "cdfalse"},
		{`local a, b, c = "a", "b", "c" a, b = b, a a, b, c = c, a return a .. b .. tostring(c)`, "cbnil"},
		{`local i, t = 1, {} i, t[i] = i + 1, 20 return i .. t[1] .. tostring(t[2])`, "220nil"},
		{`local t = { 1, 2 } t[1], t[2] = t[2], t[1] return t[1] .. t[2]`, "21"},
		{`local t = { a = { b = 1 } } t.a.b, t.a = 2, { b = 3 } return t.a.b .. ""`, "3"},
		{`local function two() return "a", "b" end local t, x = {} t.x, x, t.y = "c", two() return t.x .. x .. t.y`, "cab"},
		{`local function two() return "a", "b" end local x, y x, y = (two()) return x .. tostring(y)`, "anil"},
		{`local a a, a = 1, 2 return a .. ""`, "1"},
		{`local t = setmetatable({}, { __newindex = function(t, k, v) rawset(t, k, v .. k) end }) t.a, t.b = "x", "y" return t.a .. t.b`, "xayb"},
		{`return 1 .. 2 .. 3 + 4`, "127"},
		{`return ("a" .. "b" < "a" .. "c") and -("1" .. "2") .. "" or "no"`, "-12"},
	} {
		got, err := run(c.code)
		if err != nil || got != c.want {
			t.Errorf("%s\ngot %q (%v), want %q", c.code, got, err, c.want)
		}
	}
}

// text is an expression as source, and what it is worth where the names have the given values.
type text struct {
	src   string
	worth func(env map[string]string) string
}

// expression draws an expression over names, all of whose values are texts.
func expression(t *rapid.T, names []string, depth int) text {
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if depth == 0 {
		kind %= 2
	}
	sub := func() text { return expression(t, names, depth-1) }
	switch kind {
	case 0:
		name := rapid.SampledFrom(names).Draw(t, "name")
		return text{name, func(env map[string]string) string { return env[name] }}
	case 1:
		lit := rapid.StringMatching(`[0-9a-z]{0,2}`).Draw(t, "literal")
		return text{fmt.Sprintf("%q", lit), func(map[string]string) string { return lit }}
	case 2:
		a, b := sub(), sub()
		return text{a.src + " .. " + b.src, func(env map[string]string) string { return a.worth(env) + b.worth(env) }}
	case 3:
		a, b := sub(), sub()
		return text{"(" + a.src + ") .. (" + b.src + ")", func(env map[string]string) string { return a.worth(env) + b.worth(env) }}
	case 4:
		a := sub()
		return text{"same(" + a.src + ", 1)", a.worth}
	case 5:
		a := sub()
		return text{"(t:same(" + a.src + "))", a.worth}
	}
	a, b, c := sub(), sub(), sub()
	return text{"(" + a.src + " == " + b.src + " and " + c.src + " or " + a.src + ")", func(env map[string]string) string {
		if a.worth(env) == b.worth(env) {
			return c.worth(env)
		}
		return a.worth(env)
	}}
}

// Goal: as above, for shapes that nobody thought of. Method: functions of random parameters, locals and an
// upvalue with random assignments, one or several at once, against a model that knows no registers.
func TestConcatenationAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		params := []string{"a", "b", "p"}[rapid.IntRange(0, 2).Draw(t, "from"):]
		names := append([]string{"u", "l"}, params...)
		env := map[string]string{"u": "U", "l": "L"}
		args := make([]string, len(params))
		for i, p := range params {
			env[p] = strings.ToUpper(p)
			args[i] = fmt.Sprintf("%q", env[p])
		}
		var src strings.Builder
		fmt.Fprintf(&src, "local function same(...) return ... end\nlocal t, u = { same = function(_, x) return x, 2 end }, 'U'\n")
		fmt.Fprintf(&src, "local function f(%s%s)\nlocal l = 'L'\n", strings.Join(params, ", "), rapid.SampledFrom([]string{"", ", ..."}).Draw(t, "varargs"))
		for range rapid.IntRange(1, 4).Draw(t, "statements") {
			left := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 3, rapid.ID).Draw(t, "left")
			values, right := make([]string, len(left)), make([]string, len(left))
			for i := range left {
				e := expression(t, names, 3)
				right[i], values[i] = e.src, e.worth(env)
			}
			fmt.Fprintf(&src, "%s = %s\n", strings.Join(left, ", "), strings.Join(right, ", "))
			for i, name := range left {
				env[name] = values[i]
			}
		}
		want := ""
		for _, n := range names {
			want += env[n] + ","
		}
		fmt.Fprintf(&src, "return %s .. \",\"\nend\nreturn f(%s)\n", strings.Join(names, ` .. "," .. `), strings.Join(args, ", "))
		if got, err := run(src.String()); err != nil || got != want {
			t.Fatalf("%s\ngot %q (%v), want %q", src.String(), got, err, want)
		}
	})
}
