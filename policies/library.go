package policies

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/sandbox"
	"github.com/nimbus-epu/epu/policies/source"
)

// Library finds policies by name in folders laid over each other: the built-in ones and, before them,
// the operator's own. A file of an earlier folder takes the place of one with the same path in a
// later folder, for require too.
type Library struct {
	layers layers
	clock  func() time.Time
}

// NewLibrary makes a library; the first folder wins. A nil folder is left out.
func NewLibrary(folders ...fs.FS) *Library {
	l := &Library{}
	for _, f := range folders {
		if f != nil {
			l.layers = append(l.layers, f)
		}
	}
	return l
}

// Timed gives the library a clock. What its policies do then ends after two seconds where no engine has a
// clock of its own: when they are loaded, when a configuration is checked, when a record is replayed. No
// honest policy comes near that, so results stay the same on every machine.
func (l *Library) Timed(clock func() time.Time) *Library {
	l.clock = clock
	return l
}

// Load reads and compiles a policy as it is now. An unknown name is a NotFound error that lists what
// exists; a policy that is not sound is an Invalid error with every problem.
func (l *Library) Load(name string) (*Policy, error) {
	src, err := l.Source(name)
	if err != nil {
		return nil, err
	}
	return l.Compile(name, src)
}

// Compile loads a policy that requires files of the library.
func (l *Library) Compile(name string, src []byte) (*Policy, error) {
	return compile(name, src, l.layers, l.clock)
}

// Source is a policy's text.
func (l *Library) Source(name string) ([]byte, error) {
	if !ValidName(name) {
		return nil, l.notFound(name)
	}
	src, err := fs.ReadFile(l.layers, name+".lua")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, l.notFound(name)
	}
	if err != nil {
		return nil, epu.E(epu.Unavailable, "read policy", name, err)
	}
	return src, nil
}

// FS is all folders as one, for require.
func (l *Library) FS() fs.FS { return l.layers }

// Names lists the policies, sorted. Tests and files in sub-folders are not policies.
func (l *Library) Names() ([]string, error) { return l.list(ValidName) }

// Tests lists the test files at the top of the folders, such as npreserving_test.lua, sorted.
func (l *Library) Tests() ([]string, error) {
	names, err := l.list(func(name string) bool { return strings.HasSuffix(name, "_test") })
	for i := range names {
		names[i] += ".lua"
	}
	return names, err
}

func (l *Library) list(wanted func(name string) bool) ([]string, error) {
	var names []string
	for _, folder := range l.layers {
		entries, err := fs.ReadDir(folder, ".")
		if errors.Is(err, fs.ErrNotExist) {
			continue // as for its files: a folder may come later
		}
		if err != nil {
			return nil, epu.E(epu.Unavailable, "list policies", "", err)
		}
		for _, e := range entries {
			name, isLua := strings.CutSuffix(e.Name(), ".lua")
			if isLua && !e.IsDir() && wanted(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (l *Library) notFound(name string) error {
	names, err := l.Names()
	if err != nil {
		return err
	}
	return NotFound(name, names)
}

// NotFound is the error about a name that is none of the policies there are.
func NotFound(name string, names []string) error {
	names = slices.Sorted(slices.Values(names))
	out := epu.E(epu.NotFound, "load policy", params.Clip(name, 80), errors.New("there is no such policy"))
	out.Try = "use one of: " + strings.Join(names, ", ")
	if near := params.Nearest(name, names); near != "" {
		out.Try = fmt.Sprintf("did you mean '%s'? There are: %s", near, strings.Join(names, ", "))
	}
	return out
}

// ValidName says whether a name is one that a policy can have: that of a file without .lua, which is no test.
func ValidName(name string) bool {
	return name != "" && !strings.ContainsAny(name, `/\.`) && !strings.HasSuffix(name, "_test") && fs.ValidPath(name)
}

// layers opens a file in the first folder that has it. Sources beyond the limit are not read in full.
type layers []fs.FS

// Open opens a file or folder.
func (l layers) Open(name string) (fs.File, error) {
	for _, folder := range l {
		f, err := folder.Open(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: path.Clean(name), Err: fs.ErrNotExist}
}

// ReadFile reads at most one byte more than a source may have.
func (l layers) ReadFile(name string) ([]byte, error) {
	f, err := l.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, source.SizeMax+1))
}

// DidYouMean ends a message about an unknown name with a suggestion, if there is one.
func DidYouMean(name string, known []string) string { return params.DidYouMean(name, known) }

// GoFunc is a function that a script can call with plain values: nil, bool, float64, string, []any and
// map[string]any. Line is that of the call; 0 when not known.
type GoFunc func(line int, args []any) (any, error)

// Script runs a file of the policy folder that is no policy, such as a test, in the same sandbox and
// within the same bounds, and gives what it returns as a plain value. The functions are in the global
// table of the given name.
func Script(name string, src []byte, lib fs.FS, table string, funcs map[string]GoFunc) (any, error) {
	var extra []Function
	for fname, f := range funcs {
		extra = append(extra, sandbox.F(table, fname, "...", "any", "", bridge(table+"."+fname, f)))
	}
	p := &Policy{Name: name, world: newWorld(extra...), files: map[string]*source.File{}, main: name}
	main, problems := source.Compile(name, src, p.world.Names)
	if problems != nil {
		return nil, epu.E(epu.Invalid, "run", name, problems)
	}
	p.files[name] = main
	e := NewEngine(p, Options{})
	defer e.Close()
	e.host.Begin(e.host.limits())
	v, err := e.host.run(&loader{p: p, lib: lib})
	if err != nil {
		if e.host.broken != nil {
			return nil, epu.E(epu.Invalid, "run", name, e.host.broken)
		}
		return nil, epu.E(epu.Invalid, "run", name, Problems{p.problemAt(messageOf(err))})
	}
	out, err := sandbox.FromLua(v)
	if err != nil {
		return nil, epu.E(epu.Invalid, "run", name, fmt.Errorf("returned a value that is no data: %w", err))
	}
	return out, nil
}

func bridge(what string, f GoFunc) lua.LGFunction {
	return func(L *lua.LState) int {
		args := make([]any, L.GetTop())
		for i := range args {
			var err error
			if args[i], err = sandbox.FromLua(L.Get(i + 1)); err != nil {
				L.RaiseError("%s: argument %d: %s", what, i+1, err.Error())
			}
		}
		hostOf(L).Work(L, 10)
		out, err := f(hostOf(L).p.problemAt(L.Where(1)).Line, args)
		if err != nil {
			L.RaiseError("%s: %s", what, err.Error())
		}
		L.Push(sandbox.ToLua(out))
		return 1
	}
}

type sourceText struct {
	name    string
	text    []byte
	missing bool
}

// sources are a policy's own file and all that it requires, each once.
func sources(name string, src []byte, lib fs.FS) []sourceText {
	out := []sourceText{{name: name + ".lua", text: src}}
	for i := 0; i < len(out) && len(out) < filesMax; i++ {
		for _, wanted := range source.Requires(out[i].name, out[i].text) {
			path := requirePath(wanted)
			if path == "" || slices.ContainsFunc(out, func(f sourceText) bool { return f.name == path }) {
				continue
			}
			f := sourceText{name: path, missing: true}
			if lib != nil {
				if text, err := fs.ReadFile(lib, path); err == nil {
					f.text, f.missing = text, false
				}
			}
			out = append(out, f)
		}
	}
	return out
}

// Sources are the files that a policy is made of now, as far as its text names them, its own first. A file that
// is not there has no text.
func (l *Library) Sources(name string) (out []epu.PolicyFile) {
	text, err := l.Source(name)
	if err != nil {
		return nil
	}
	for _, f := range sources(name, text, l.layers) {
		out = append(out, epu.PolicyFile{Path: f.name, Text: string(f.text)})
	}
	return out
}

// filesMax bounds the files that one policy is made of.
const filesMax = 100

// Advice says what to do about settings that a policy of that name does not take; flags are those of Mend, if it has any.
func Advice(name, flags string) string {
	doc := "epumgmt policy doc " + name + " lists the settings"
	if flags == "" {
		return doc
	}
	return "add " + flags + "; " + doc + ", and --conf FILE gives all of them in place of the pool's"
}
