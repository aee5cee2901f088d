package epumgmt_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/clitest"
	"github.com/nimbus-epu/epu/internal/cli/epumgmt"
	"github.com/nimbus-epu/epu/internal/cli/reference"
	"github.com/nimbus-epu/epu/internal/golden"
)

// What terminals, pipes and machines get of the same answers. Golden files are rewritten with -rewrite.

// result is one run of the program.
type result struct {
	code     int
	out, err string
}

// run runs the program in this process against a fresh fake node.
func run(t *testing.T, change func(*cli.Env, map[string]string), args ...string) result {
	t.Helper()
	address, _, err := startNode(t.Cleanup)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"EPU_NODE": address, "LANG": "C.UTF-8"}
	env := cli.Env{Dir: workFolder(t)}
	still(&env)
	if change != nil {
		change(&env, vars)
	}
	env.Getenv = func(name string) string { return vars[name] }
	var out, errs bytes.Buffer
	code := epumgmt.Main(t.Context(), args, cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, env)
	return result{code, out.String(), errs.String()}
}

// workFolder has the files that examples name.
func workFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pools/web.yaml": "web", "conf.yaml": "step_up: 1",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func terminal(width int) func(*cli.Env, map[string]string) {
	return func(e *cli.Env, vars map[string]string) {
		e.StdoutTTY, e.StderrTTY, e.Width, vars["TERM"] = true, true, width, "xterm"
	}
}

func TestFormsForPeople(t *testing.T) {
	with := func(first func(*cli.Env, map[string]string), name, value string) func(*cli.Env, map[string]string) {
		return func(e *cli.Env, vars map[string]string) {
			first(e, vars)
			vars[name] = value
		}
	}
	for _, c := range []struct {
		name   string
		change func(*cli.Env, map[string]string)
		args   []string
	}{
		{"status-terminal-120", terminal(120), []string{"status"}},
		{"status-terminal-80", terminal(80), []string{"status"}},
		{"status-terminal-80-ascii", with(terminal(80), "LANG", "C"), []string{"status"}},
		{"status-no-color", with(terminal(80), "NO_COLOR", "1"), []string{"status"}},
		{"status-dumb", with(terminal(80), "TERM", "dumb"), []string{"status"}},
		{"status-pipe-forced", func(_ *cli.Env, vars map[string]string) { vars["CLICOLOR_FORCE"] = "1" }, []string{"status"}},
		{"status-flag-over-env", with(terminal(80), "NO_COLOR", "1"), []string{"status", "--color", "always", "--no-headers"}},
		{"instances-terminal-80", terminal(80), []string{"instances"}},
		{"explain-terminal-80", terminal(80), []string{"explain", "epu-gpu"}},
		{"doctor-terminal-80", func(e *cli.Env, vars map[string]string) {
			terminal(80)(e, vars)
			vars["EPU_NODE"] = "127.0.0.1:1"
		}, []string{"doctor"}},
		{"plan-terminal-80", terminal(80), []string{"plan", "-f", "pools"}},
		{"error-terminal-80", terminal(80), []string{"scale", "epu-wbe", "4"}},
	} {
		got := run(t, c.change, c.args...)
		golden.Check(t, filepath.Join("testdata", "golden", c.name+".txt"), strings.ReplaceAll(got.out+got.err, "\x1b", "^["), *rewrite)
		for line := range strings.Lines(got.out) {
			plain := stripColour(strings.TrimSuffix(line, "\n"))
			if strings.Contains(c.name, "-80") && strings.HasPrefix(c.name, "status") && len([]rune(plain)) > 80 {
				t.Errorf("%s: %d columns in %q", c.name, len([]rune(plain)), plain)
			}
		}
	}
}

// stripColour takes colour sequences out.
func stripColour(s string) string {
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return s
		}
		j := strings.IndexByte(s[i:], 'm')
		s = s[:i] + s[i+j+1:]
	}
}

// answering gives every example of every command that answers with data.
func answering(t *testing.T, each func(name string, args []string)) {
	t.Helper()
	for _, c := range epumgmt.Root().Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		for _, example := range clitest.Examples(c) {
			if args, ok := plainForm(example); ok {
				each(example, args)
			}
		}
	}
}

// plainForm splits an example into arguments, without its own form; examples that need a plan made
// before, or choose columns, are told by the scripts.
func plainForm(example string) (args []string, ok bool) {
	if strings.Contains(example, "--columns") || strings.Contains(example, "--plan ") || strings.HasPrefix(example, "(") {
		return nil, false
	}
	words := strings.Fields(strings.ReplaceAll(example, "'disk is full'", "full"))[1:]
	for i := 0; i < len(words); i++ {
		if words[i] == "-o" {
			i++
			continue
		}
		args = append(args, words[i])
	}
	return args, true
}

func TestEveryAnswerIsJSONWithItsSchema(t *testing.T) {
	answering(t, func(example string, args []string) {
		got := run(t, nil, append(args, "-o", "json")...)
		checkDocument(t, example+" -o json", got, []byte(got.out))
		lines := run(t, nil, append(args, "-o", "jsonl")...)
		for line := range strings.Lines(lines.out) {
			checkDocument(t, example+" -o jsonl", lines, []byte(line))
		}
		var fromYAML map[string]any
		if y := run(t, nil, append(args, "-o", "yaml")...); yaml.Unmarshal([]byte(y.out), &fromYAML) != nil || fromYAML["schema"] != cli.Schema {
			t.Errorf("%s -o yaml gave no document:\n%s%s", example, y.out, y.err)
		}
	})
}

func checkDocument(t *testing.T, what string, got result, raw []byte) {
	t.Helper()
	var doc struct {
		Schema string `json:"schema"`
		Type   string `json:"type"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil || doc.Schema != cli.Schema || doc.Type == "" {
		t.Errorf("%s gave %q (%v), want a document of %s; stderr %s", what, raw, err, cli.Schema, got.err)
	}
	if got.code != cli.CodeDone && got.code != cli.CodeAct && got.code != cli.CodeUnhealthy {
		t.Errorf("%s exits with %d: %s", what, got.code, got.err)
	}
}

// Errors of every command are JSON on stderr too, and stdout stays empty.
func TestEveryErrorIsJSONWithAdvice(t *testing.T) {
	dead := deadAddress(t)
	answering(t, func(example string, args []string) {
		if args[0] == "doctor" || args[0] == "version" || args[0] == "policy" {
			return // they answer without a node
		}
		got := run(t, nil, append(args, "-o", "json", "--node", dead)...)
		var doc struct {
			Schema string
			Type   string
			Error  struct {
				Kind, Text, Try string
				ExitCode        int `json:"exit_code"`
			}
		}
		if err := json.Unmarshal([]byte(got.err), &doc); err != nil || doc.Schema != cli.Schema || doc.Type != "error" || doc.Error.Try == "" || got.out != "" {
			t.Errorf("%s without a node gave %q and on stderr %q (%v)", example, got.out, got.err, err)
		}
		if got.code != cli.CodeUnreachable || doc.Error.ExitCode != got.code || doc.Error.Kind != "unavailable" {
			t.Errorf("%s without a node exits with %d and says %+v, want %d", example, got.code, doc.Error, cli.CodeUnreachable)
		}
	})
}

func TestGoldenJSON(t *testing.T) {
	for name, args := range map[string][]string{
		"status.json":         {"status"},
		"instances.json":      {"instances", "epu-web"},
		"explain.json":        {"explain", "epu-gpu"},
		"decisions.json":      {"decisions", "epu-web"},
		"events.json":         {"events"},
		"plan.json":           {"plan", "-f", "pools"},
		"done.json":           {"scale", "epu-web", "5"},
		"strays.json":         {"sweep"},
		"alerts.json":         {"alerts"},
		"doctor-checks.jsonl": {"doctor"},
	} {
		form := strings.TrimPrefix(filepath.Ext(name), ".")
		got := run(t, nil, append(args, "-o", form)...)
		text := got.out
		if name == "doctor-checks.jsonl" { // its address is another one each time
			_, text, _ = strings.Cut(text, `"code":"store"`)
		}
		golden.Check(t, filepath.Join("testdata", "golden", name), text, *rewrite)
	}
}

// A fault in the program is exit code 1, never 2, and says so.
func TestAPanicIsCodeOne(t *testing.T) {
	var out, errs bytes.Buffer
	env := cli.Env{Dir: t.TempDir(), Getenv: func(name string) string {
		if name == "EPU_PROFILE" {
			panic("boom")
		}
		return ""
	}}
	still(&env)
	code := epumgmt.Main(t.Context(), []string{"status"}, cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs}, env)
	if code != cli.CodeFailed || !strings.Contains(errs.String(), "a fault in this program: boom") || out.Len() > 0 {
		t.Errorf("exits with %d, stdout %q, stderr %q", code, out.String(), errs.String())
	}
}

// The reference is what the commands say about themselves.
func TestReferenceIsFresh(t *testing.T) {
	golden.Check(t, filepath.Join("..", "..", "..", "docs", "reference", "epumgmt.md"), reference.Markdown(epumgmt.Root(), cli.CodeTable()), *rewrite)
}

// Commands explain themselves: a short line, a long text, an example, and a completion for pools.
func TestCommandsExplainThemselves(t *testing.T) {
	for _, c := range epumgmt.Root().Commands() {
		if c.Hidden {
			continue
		}
		if c.Short == "" || c.Example == "" || (c.Long == "" && c.Name() != "help") || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short %q, long %q, example %q", c.Name(), c.Short, c.Long, c.Example)
		}
		if strings.Contains(c.Use, "POOL") && c.ValidArgsFunction == nil {
			t.Errorf("%s takes a pool and does not complete it", c.Name())
		}
		if c.Args == nil {
			t.Errorf("%s does not check its arguments", c.Name())
		}
		noShadow(t, c)
	}
}

// noShadow refuses flags that hide one of the flags of all commands.
func noShadow(t *testing.T, c *cobra.Command) {
	t.Helper()
	for _, name := range []string{"node", "config", "output", "quiet", "columns", "color"} {
		if c.LocalNonPersistentFlags().Lookup(name) != nil {
			t.Errorf("%s has its own --%s", c.Name(), name)
		}
	}
}
