package sandbox

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu/policies/params"
)

// Bounds of the text functions. A Go regular expression takes time linear in subject times program;
// for the functions that look for many matches that holds per match, so they pay the subject twice.
const (
	patternMax      = 256      // bytes of a pattern
	patternsKept    = 32       // compiled patterns an engine keeps
	programsKept    = 10_000   // instructions of all their programs
	parseSteps      = 50       // steps per byte of a pattern to read it
	compileSteps    = 20       // steps per instruction of a program to make it
	matchWorkMax    = 1 << 20  // subject bytes x program instructions
	matchAllWorkMax = 16 << 20 // subject bytes squared x program instructions
	workPerStep     = 16       // such units that cost as much as one VM instruction
)

// ProgramMax is how many instructions the program of a regular expression may have.
const ProgramMax = 2000

// textFuncs are the functions on texts: Lua's own ones where they are harmless, bounded ones for the
// rest, and text.* on regular expressions (RE2 syntax) in place of Lua's patterns.
func textFuncs() []Func {
	return []Func{
		F("string", "byte", "s: string, i?: integer, j?: integer", "integer", "The byte values from i to j, at most 1000; the first without them.", stringByte),
		F("string", "char", "...: integer", "string", "The text made of the given byte values.", stringChar),
		F("string", "lower", "s: string", "string", "In lower case.", mapped(strings.ToLower)),
		F("string", "upper", "s: string", "string", "In upper case.", mapped(strings.ToUpper)),
		F("string", "reverse", "s: string", "string", "With the bytes in reverse order.", mapped(reversed)),
		F("string", "rep", "s: string, n: integer", "string", "Repeated n times, at most 64 KiB.", stringRep),
		F("string", "format", "format: string, ...: any", "string", "As in C: %d %i %u %c %s %q %x %X %o %f %e %g %%, width and precision at most 99.", stringFormat),
		F("text", "match", "s: string, re: string", "string?", "The captures of the first match of a regular expression, or the match itself when there are none; nil without a match.", textMatch),
		F("text", "find", "s: string, re: string", "integer?, integer?", "First and last position of the first match, counted from 1; nil without a match.", textFind),
		F("text", "gsub", "s: string, re: string, with: string", "string", "Every match replaced; $1 or ${name} in the replacement stand for captures.", textGsub),
		F("text", "split", "s: string, re: string", "string[]", "The list of parts between matches.", textSplit),
		F("text", "contains", "s: string, part: string", "boolean", "Whether the plain text part occurs in s.", textContains),
	}
}

func stringByte(L *lua.LState) int {
	s := L.CheckString(1)
	i := L.OptInt(2, 1)
	j := L.OptInt(3, i)
	if i < 0 {
		i = max(1, len(s)+i+1)
	}
	if j < 0 {
		j = len(s) + j + 1
	}
	i, j = max(i, 1), min(j, len(s))
	if j-i >= unpackMax {
		L.RaiseError("string.byte: %d values at once: at most %d", j-i+1, unpackMax)
	}
	meterOf(L).Work(L, max(0, j-i)/2) // each number is an allocation
	for k := i; k <= j; k++ {
		L.Push(lua.LNumber(s[k-1]))
	}
	return max(0, j-i+1)
}

func stringChar(L *lua.LState) int {
	b := make([]byte, L.GetTop())
	for i := range b {
		b[i] = byte(L.CheckInt(i + 1))
	}
	meterOf(L).Made(L, len(b))
	L.Push(lua.LString(b))
	return 1
}

func mapped(f func(string) string) lua.LGFunction {
	return func(L *lua.LState) int {
		s := L.CheckString(1)
		meterOf(L).Made(L, len(s))
		L.Push(lua.LString(f(s)))
		return 1
	}
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

func stringRep(L *lua.LState) int {
	s, n := L.CheckString(1), L.CheckNumber(2)
	if n != n || n < 1 || s == "" {
		L.Push(lua.LString(""))
		return 1
	}
	if float64(n)*float64(len(s)) > TextMax {
		L.RaiseError("string.rep: %s times %d bytes is too long: at most %d", params.NumberText(float64(n)), len(s), TextMax)
	}
	meterOf(L).Made(L, int(n)*len(s))
	L.Push(lua.LString(strings.Repeat(s, int(n))))
	return 1
}

// stringFormat translates one directive at a time, so that neither width nor kind of value can be
// anything Go's formatter would take differently than C's.
func stringFormat(L *lua.LState) int {
	f := L.CheckString(1)
	var out strings.Builder
	arg := 1
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			out.WriteByte(f[i])
			continue
		}
		j := i + 1
		for j < len(f) && strings.IndexByte("-+ #0123456789.", f[j]) >= 0 {
			j++
		}
		if j == len(f) {
			L.RaiseError("string.format: the format ends inside a directive")
		}
		flags, verb := f[i+1:j], f[j]
		i = j
		if verb == '%' {
			out.WriteByte('%')
			continue
		}
		if !shortWidths(flags) {
			L.RaiseError("string.format: width or precision above 99 in '%%%s%c'", flags, verb)
		}
		arg++
		out.WriteString(directive(L, flags, verb, arg))
		if out.Len() > TextMax {
			break
		}
	}
	meterOf(L).Made(L, out.Len())
	L.Push(lua.LString(out.String()))
	return 1
}

func shortWidths(flags string) bool {
	digits := 0
	for i := range len(flags) {
		if c := flags[i]; c < '0' || c > '9' {
			digits = 0
		} else if digits++; digits > 2 {
			return false
		}
	}
	return true
}

func directive(L *lua.LState, flags string, verb byte, arg int) string {
	switch verb {
	case 'd', 'i', 'u':
		n := float64(L.CheckNumber(arg))
		if n != n || n < -1<<63 || n >= 1<<63 {
			return fmt.Sprintf("%"+flags+"g", n)
		}
		return fmt.Sprintf("%"+flags+"d", int64(n))
	case 'x', 'X', 'o':
		return fmt.Sprintf("%"+flags+string(verb), int64(L.CheckNumber(arg)))
	case 'c':
		return string([]byte{byte(L.CheckInt(arg))})
	case 'e', 'E', 'f', 'g', 'G':
		return fmt.Sprintf("%"+flags+string(verb), float64(L.CheckNumber(arg)))
	case 's':
		return fmt.Sprintf("%"+flags+"s", TextOf(L.CheckAny(arg)))
	case 'q':
		return fmt.Sprintf("%q", L.CheckString(arg))
	}
	L.RaiseError("string.format: unknown directive '%%%s%c'", flags, verb)
	return ""
}

// pattern is a compiled regular expression and the length of its program.
type pattern struct {
	re   *regexp.Regexp
	size int
}

func compiled(L *lua.LState, src string) pattern {
	m := meterOf(L)
	t := m.Tools()
	if p, ok := t.patterns[src]; ok {
		return p
	}
	if len(src) > patternMax {
		L.RaiseError("a pattern of %d bytes is too long: at most %d", len(src), patternMax)
	}
	if why := slowToRead(src); why != "" {
		L.RaiseError("pattern %q: %s", src, why)
	}
	m.Work(L, 100+len(src)*parseSteps)
	tree, err := syntax.Parse(src, syntax.Perl)
	if err != nil {
		L.RaiseError("pattern %q: %s", src, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	p := pattern{size: programSize(tree) + 2} // which every program has
	if p.size > ProgramMax {
		L.RaiseError("pattern %q: it makes more than %d instructions: repeat less", src, ProgramMax)
	}
	m.Work(L, p.size*compileSteps)
	if p.re, err = regexp.Compile(src); err != nil {
		L.RaiseError("pattern %q: %s", src, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if t.patterns == nil || len(t.patterns) >= patternsKept || t.programs+p.size > programsKept {
		t.patterns, t.programs = map[string]pattern{}, 0
	}
	t.patterns[src], t.programs = p, t.programs+p.size
	return p
}

// classesMax is how many classes of Unicode a pattern may have. Alternatives of them are merged letter by letter.
const classesMax = 8

// slowToRead says what makes a short pattern take long only to be read: Go's parser merges classes of Unicode, and
// without regard to case it goes through every letter of a range.
func slowToRead(src string) string {
	if strings.Count(src, `\p`)+strings.Count(src, `\P`) > classesMax {
		return fmt.Sprintf(`more than %d classes such as \pL`, classesMax)
	}
	wide := strings.Contains(src, `\x{`) || strings.ContainsFunc(src, func(c rune) bool { return c >= utf8.RuneSelf })
	if !wide || !strings.Contains(src, "[") {
		return ""
	}
	for _, group := range strings.Split(src, "(?")[1:] {
		flags := group[:len(group)-len(strings.TrimLeft(group, "imsU-"))]
		if strings.Contains(flags, "i") {
			return "letters beyond ASCII, a class and (?i): write letters in both cases"
		}
	}
	return ""
}

// programSize is how many instructions a pattern's program has at most. Known from the pattern as it is
// written, it need not be made to be found too long.
func programSize(re *syntax.Regexp) int {
	own, sum := 2, 0
	for _, sub := range re.Sub {
		sum += programSize(sub)
	}
	switch re.Op {
	case syntax.OpLiteral:
		own = max(1, len(re.Rune))
	case syntax.OpAlternate:
		own = len(re.Sub)
	case syntax.OpRepeat:
		sum *= max(1, re.Min, re.Max)
		own += max(0, re.Max-re.Min)
	}
	if re.Op == syntax.OpRepeat && re.Max < 0 {
		own++
	}
	return min(own+sum, ProgramMax+1)
}

// subject takes the text and the pattern of a call and charges for the work, before it is done.
func subject(L *lua.LState, all bool) (string, *regexp.Regexp) {
	s := L.CheckString(1)
	p := compiled(L, L.CheckString(2))
	work, limit := len(s)*p.size, matchWorkMax
	if all {
		work, limit = work*len(s), matchAllWorkMax
	}
	if len(s) > TextMax || work > limit {
		L.RaiseError("a text of %d bytes is too long for this pattern", len(s))
	}
	meterOf(L).Work(L, 1+work/workPerStep)
	return s, p.re
}

func textMatch(L *lua.LState) int {
	s, re := subject(L, false)
	m := re.FindStringSubmatchIndex(s)
	if m == nil {
		L.Push(lua.LNil)
		return 1
	}
	if len(m) > 2 {
		m = m[2:]
	}
	for i := 0; i < len(m); i += 2 {
		if m[i] < 0 {
			L.Push(lua.LNil)
			continue
		}
		L.Push(lua.LString(s[m[i]:m[i+1]]))
	}
	return len(m) / 2
}

func textFind(L *lua.LState) int {
	s, re := subject(L, false)
	m := re.FindStringIndex(s)
	if m == nil {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(m[0] + 1))
	L.Push(lua.LNumber(m[1]))
	return 2
}

func textGsub(L *lua.LState) int {
	s, re := subject(L, true)
	with := L.CheckString(3)
	// A match may be empty, so there are at most len(s)+1; each puts in the replacement, in which a
	// capture of two bytes can stand for the whole subject.
	most := len(s) + (len(s)+1)*(len(with)+strings.Count(with, "$")*len(s))
	if most > TextTotalMax {
		L.RaiseError("text.gsub: the result could be too long")
	}
	out := re.ReplaceAllString(s, with)
	meterOf(L).Made(L, len(out))
	L.Push(lua.LString(out))
	return 1
}

func textSplit(L *lua.LState) int {
	s, re := subject(L, true)
	t := NewTable()
	for _, part := range re.Split(s, -1) {
		t.Append(lua.LString(part))
	}
	L.Push(t)
	return 1
}

func textContains(L *lua.LState) int {
	s, part := L.CheckString(1), L.CheckString(2)
	meterOf(L).Work(L, len(s)/workPerStep)
	L.Push(lua.LBool(strings.Contains(s, part)))
	return 1
}
