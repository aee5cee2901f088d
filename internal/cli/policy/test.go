package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/policytest"
)

func testCommand(k *kit) *cobra.Command {
	var verbose, watch bool
	c := &cobra.Command{
		Use: "test [FILE|FOLDER|POLICY]...", Short: "Run the tests of policies", Args: cli.Takes(0, -1), ValidArgsFunction: k.complete,
		Long: `Run tests: Lua files that end in _test.lua, scenario files (YAML), all of a folder, or those of a policy by its file or
name. Without an argument, all of this folder and of ./policies. A policy is looked up beside its test first.

Every decision of a test is also evaluated again from its record, so a policy that hides state fails.`,
		Example: "epumgmt policy test\nepumgmt policy test -v office-hours.scenarios.yaml\nepumgmt policy test npreserving",
		RunE: func(cmd *cobra.Command, args []string) error {
			t := &tests{kit: k, args: args, verbose: verbose}
			if watch {
				return t.watch(cmd.Context())
			}
			return t.once(cmd.Context())
		},
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "one line for each test, with its time, and what policies print")
	c.Flags().BoolVar(&watch, "watch", false, "run again whenever a file changes, until Ctrl-C")
	return c
}

// tests is one run of the command.
type tests struct {
	*kit
	args    []string
	verbose bool
}

// suite is one test file and the library to run it in.
type suite struct {
	lib  *policies.Library
	file string // in the library
	show string // how people are told of it
	dir  string // its folder; empty for a built-in one
}

// outcome is one test in machine output. Field names are a contract.
type outcome struct {
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`
	Name     string   `json:"name"`
	Passed   bool     `json:"passed"`
	Seconds  float64  `json:"took_seconds"`
	Failures []string `json:"failures"`
	Printed  []string `json:"printed"`
}

// report is all tests of a run in machine output.
type report struct {
	Passed int       `json:"passed"`
	Failed int       `json:"failed"`
	Tests  []outcome `json:"tests"`
}

// once runs all tests and ends with 1 if one failed.
func (t *tests) once(ctx context.Context) error {
	suites, err := t.suites()
	if err != nil {
		return err
	}
	r, err := t.run(ctx, suites)
	if err != nil {
		return err
	}
	if err := t.Print().Print(cli.View{Type: "policy-test", Data: r, Lines: t.lines(r)}); err != nil {
		return err
	}
	if r.Failed > 0 {
		return cli.Exit{Code: cli.CodeFailed}
	}
	return nil
}

// run runs test files one after the other.
func (t *tests) run(ctx context.Context, suites []suite) (report, error) {
	r := report{Tests: []outcome{}}
	for _, s := range suites {
		results, err := policytest.RunWith(ctx, s.lib, s.file, policytest.Options{Now: t.Env.Now})
		if err != nil {
			return r, err
		}
		for _, x := range results {
			o := outcome{
				File: s.show, Line: x.Line, Name: x.Case, Passed: x.Passed(), Seconds: x.Took.Seconds(),
				Failures: append([]string{}, x.Failures...), Printed: append([]string{}, x.Printed...),
			}
			if r.Tests = append(r.Tests, o); o.Passed {
				r.Passed++
			} else {
				r.Failed++
			}
		}
	}
	return r, nil
}

// lines are the results for people: each file with its count, each failure in full, and the sum.
func (t *tests) lines(r report) (out []cli.Line) {
	for i := 0; i < len(r.Tests); {
		next := i
		for next < len(r.Tests) && r.Tests[next].File == r.Tests[i].File {
			next++
		}
		out = append(out, t.fileLines(r.Tests[i:next])...)
		i = next
	}
	sum := cli.Cell{Text: fmt.Sprintf("%d/%d passed", r.Passed, r.Passed+r.Failed), Tone: cli.Good}
	if r.Failed > 0 {
		sum.Tone = cli.Bad
	}
	return append(out, cli.Line{sum})
}

func (t *tests) fileLines(list []outcome) (out []cli.Line) {
	passed := 0
	for _, o := range list {
		word := cli.Cell{Text: "PASS", Tone: cli.Good}
		if o.Passed {
			passed++
		} else {
			word = cli.Cell{Text: "FAIL", Tone: cli.Bad}
		}
		if t.verbose || !o.Passed {
			line := cli.Line{word, cli.Text("  " + o.Name)}
			if !o.Passed && o.Line > 0 {
				line = append(line, cli.Cell{Text: fmt.Sprintf("  (%s:%d)", o.File, o.Line), Tone: cli.Dim})
			}
			if t.verbose {
				line = append(line, cli.Cell{Text: fmt.Sprintf("  (%s)", took(o.Seconds)), Tone: cli.Dim})
			}
			out = append(out, line)
		}
		for _, f := range o.Failures {
			for l := range strings.SplitSeq(f, "\n") {
				out = append(out, cli.L("      %s", l))
			}
		}
		if t.verbose {
			for _, l := range o.Printed {
				out = append(out, cli.Line{{Text: "      printed: " + l, Tone: cli.Dim}})
			}
		}
	}
	word := cli.Cell{Text: "ok  ", Tone: cli.Good}
	if passed < len(list) {
		word = cli.Cell{Text: "FAIL", Tone: cli.Bad}
	}
	return append(out, cli.Line{word, cli.Text(fmt.Sprintf("  %s: %d/%d", list[0].File, passed, len(list)))})
}

func took(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(100 * time.Microsecond).String()
}

// suites finds the test files that the arguments name.
func (t *tests) suites() (out []suite, err error) {
	args := t.args
	if len(args) == 0 {
		args = t.hereabouts(isSuite)
	}
	for _, arg := range args {
		path := t.path(arg)
		info, statErr := os.Stat(path)
		var found []suite
		switch {
		case statErr == nil && info.IsDir():
			found, err = t.folder(arg, path)
		case statErr == nil:
			found, err = t.file(arg, path)
		case isFile(arg):
			err = &epu.Error{Kind: epu.NotFound, Op: "read policy test", On: arg, Err: cli.Reason(statErr), Try: "epumgmt policy test, for all of this folder"}
		default:
			found, err = t.ofPolicy(arg)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (t *tests) file(arg, path string) ([]suite, error) {
	dir := filepath.Dir(path)
	lib, err := t.library(dir)
	if err != nil {
		return nil, err
	}
	if isTest(path) {
		return []suite{{lib: lib, file: filepath.Base(path), show: arg, dir: dir}}, nil
	}
	base, isLua := strings.CutSuffix(path, ".lua")
	if !isLua {
		return nil, cli.Usage("a file that ends in _test.lua or .yaml, or a policy", "%s is no test", arg)
	}
	var out []suite
	for _, end := range []string{"_test.lua", policytest.ScenarioSuffix} {
		if _, err := os.Stat(base + end); err == nil {
			out = append(out, suite{lib: lib, file: filepath.Base(base + end), show: strings.TrimSuffix(arg, ".lua") + end, dir: dir})
		}
	}
	if len(out) == 0 {
		return nil, noTests(arg, filepath.Base(base))
	}
	return out, nil
}

// noTests says that a policy has none.
func noTests(arg, name string) error {
	return &epu.Error{Kind: epu.NotFound, Op: "find the tests of policy", On: arg, Err: errors.New("it has none"), Try: "write " + name + "_test.lua or " + name + policytest.ScenarioSuffix}
}

func isTest(name string) bool {
	return strings.HasSuffix(name, "_test.lua") || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// isSuite says that a file of a folder is a test: other YAML may be anything.
func isSuite(name string) bool {
	return strings.HasSuffix(name, "_test.lua") || strings.HasSuffix(name, policytest.ScenarioSuffix)
}

func (t *tests) folder(arg, path string) (out []suite, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, &epu.Error{Kind: epu.Unavailable, Op: "read folder", On: arg, Err: cli.Reason(err)}
	}
	lib, err := t.library(path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() && isSuite(e.Name()) {
			out = append(out, suite{lib: lib, file: e.Name(), show: filepath.Join(arg, e.Name()), dir: path})
		}
	}
	if len(out) == 0 {
		return nil, &epu.Error{
			Kind: epu.NotFound, Op: "find policy tests", On: arg, Err: errors.New("no file ends in _test.lua or " + policytest.ScenarioSuffix),
			Try: "epumgmt policy new NAME",
		}
	}
	return out, nil
}

// ofPolicy finds the tests of a policy by its name.
func (t *tests) ofPolicy(name string) (out []suite, err error) {
	lib, err := t.library("")
	if err != nil {
		return nil, err
	}
	if _, err := lib.Source(name); err != nil {
		if here := t.here(name); here != "" && epu.KindOf(err) == epu.NotFound {
			return t.file(here, t.path(here))
		}
		return nil, t.unknown(lib, name)
	}
	files, err := policytest.Files(lib)
	if err != nil {
		return nil, err
	}
	dir := ""
	if t.origin(name) != builtIn {
		dir = t.path(t.kit.folder)
	}
	for _, f := range files {
		base := f[strings.LastIndexByte(f, '/')+1:]
		if base == name+"_test.lua" || base == name+policytest.ScenarioSuffix || base == name+".yaml" {
			out = append(out, suite{lib: lib, file: f, show: f, dir: dir})
		}
	}
	if len(out) == 0 {
		return nil, noTests(name, name)
	}
	return out, nil
}

// lookEvery is how often the files of a watched test are looked at.
const lookEvery = 300 * time.Millisecond

// watch runs the tests now and after every change of a file beside them.
func (t *tests) watch(ctx context.Context) error {
	if f := t.Print().Settings.Form; f != cli.FormTable && f != cli.FormWide && f != cli.FormJSONL {
		return cli.Usage("-o jsonl", "a watch never ends, and a document of %s would not either", f)
	}
	last := "none"
	for {
		now := t.stamp()
		if now != last {
			last = now
			t.again(ctx)
		}
		select {
		case <-t.Env.After(lookEvery):
		case <-ctx.Done():
			return cli.Exit{Code: cli.CodeInterrupted}
		}
	}
}

// again runs the tests of a watch. What fails is printed; the watch goes on.
func (t *tests) again(ctx context.Context) {
	p := t.Print()
	err := t.once(ctx)
	if ctx.Err() != nil {
		return
	}
	cli.PrintError(p.Err, err, p.Settings.Form, p.ErrPaint)
	p.Note("%s  watching; Ctrl-C ends", t.Env.Now().In(t.Env.Zone).Format(time.TimeOnly))
}

// stamp is what changes when a file changes: names, sizes and times of all Lua and YAML files beside the
// tests and two folders below, as deep as libraries are likely to be.
func (t *tests) stamp() string {
	dirs := map[string]bool{}
	if t.kit.folder != "" {
		dirs[t.path(t.kit.folder)] = true
	}
	suites, err := t.suites()
	for _, s := range suites {
		if s.dir != "" {
			dirs[s.dir] = true
		}
	}
	if err != nil {
		for _, arg := range append(t.args, ".", devPolicies) {
			dirs[filepath.Dir(t.path(arg)+"/x")] = true
		}
	}
	var parts []string
	for dir := range dirs {
		for _, pattern := range []string{"*.lua", "*.yaml", "*.yml", "*/*.lua", "*/*/*.lua"} {
			names, _ := fs.Glob(os.DirFS(dir), pattern) // fails only for a bad pattern
			for _, name := range names {
				if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
					parts = append(parts, fmt.Sprint(filepath.Join(dir, name), info.Size(), info.ModTime().UnixNano()))
				}
			}
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n")
}
