package policy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies/params"
)

func checkCommand(k *kit) *cobra.Command {
	return &cobra.Command{
		Use: "check [POLICY|FOLDER]...", Short: "Find what is wrong with policies", Args: cli.Takes(0, -1), ValidArgsFunction: k.complete,
		Long: `Check policies as a node does when it loads them: syntax, names that nobody defines, parameters, unknown keys; then
call them on made-up pools, with and without readings, in a kept and in a fresh state, which finds errors in rare
branches and state that is hidden between decisions, and decisions that a pool would stop because they take too long.
All problems of all policies are said at once, with file and line.

Without an argument, all policies of this folder and of ./policies, where policy new writes them if it is there.`,
		Example: "epumgmt policy check\nepumgmt policy check ./office-hours.lua\nepumgmt policy check npreserving",
		RunE:    func(cmd *cobra.Command, args []string) error { return k.check(cmd.Context(), args) },
	}
}

// checked is one policy's outcome.
type checked struct {
	Name     string   `json:"name"`
	Hash     string   `json:"hash"`
	Warnings []string `json:"warnings"`
}

func (k *kit) check(ctx context.Context, args []string) error {
	answer := struct {
		Policies []checked `json:"policies"`
	}{Policies: []checked{}}
	table := cli.Table{Columns: []cli.Column{{Name: "POLICY"}, {Name: "VERSION"}, {Name: "RESULT"}}}
	var problems params.Problems
	var lines []cli.Line
	args, err := k.checkable(args)
	if err != nil {
		return err
	}
	for _, arg := range args {
		n, r, err := k.examine(ctx, arg)
		if err != nil {
			return err
		}
		if !r.Sound() {
			problems = append(problems, placed(r.Problems, arg)...)
			continue
		}
		c := checked{Name: n.name, Hash: r.Policy.Hash, Warnings: []string{}}
		result := cli.Cell{Text: "ok", Tone: cli.Good}
		for _, w := range placed(r.Warnings, arg) {
			c.Warnings = append(c.Warnings, w.String())
			lines = append(lines, cli.Line{{Text: "warning: ", Tone: cli.Warn}, cli.Text(w.String())})
			result = cli.Cell{Text: "ok, with warnings", Tone: cli.Warn}
		}
		answer.Policies = append(answer.Policies, c)
		table.Rows = append(table.Rows, cli.Row{
			Name: n.name, Data: c, Type: "policy-check", Cells: []cli.Cell{cli.Text(n.show), cli.Text(c.Hash), result},
		})
	}
	if len(problems) > 0 {
		return &epu.Error{Kind: epu.Invalid, Op: "check policies", Err: problems}
	}
	return k.Print().Print(cli.View{Type: "policy-check", Data: answer, Tables: []cli.Table{table}, Lines: lines})
}

// checkable puts the policies of folders in their place, and leaves out files that are no policies but
// stand beside them: `check *.lua` means the policies.
func (k *kit) checkable(args []string) (out []string, err error) {
	if len(args) == 0 {
		args = k.hereabouts(isPolicy)
	}
	for _, arg := range args {
		if info, err := os.Stat(k.path(arg)); err == nil && info.IsDir() {
			found, err := k.inFolder(arg)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		} else if !isFile(arg) || len(args) == 1 || !beside(arg) {
			out = append(out, arg)
		}
	}
	if len(out) == 0 {
		return nil, cli.Usage("epumgmt policy test", "%s: tests and types are no policies", strings.Join(args, " "))
	}
	return out, nil
}

// beside says that a file is one of those that stand beside policies: a test, or types for editors.
func beside(name string) bool {
	return strings.HasSuffix(name, "_test.lua") || strings.HasSuffix(name, ".d.lua")
}

// isPolicy says that a file's name is that of a policy.
func isPolicy(name string) bool { return strings.HasSuffix(name, ".lua") && !beside(name) }

// inFolder lists the policies of a folder as arguments.
func (k *kit) inFolder(arg string) (out []string, err error) {
	entries, err := os.ReadDir(k.path(arg))
	if err != nil {
		return nil, &epu.Error{Kind: epu.Unavailable, Op: "read folder", On: arg, Err: cli.Reason(err)}
	}
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && isPolicy(name) {
			out = append(out, strings.TrimSuffix(arg, "/")+"/"+name)
		}
	}
	if len(out) == 0 {
		return nil, &epu.Error{Kind: epu.NotFound, Op: "find policies", On: arg, Err: errors.New("no file ends in .lua"), Try: "epumgmt policy new NAME"}
	}
	return out, nil
}

// placed gives problems of a file the folder that the file was named with.
func placed(list params.Problems, arg string) (out params.Problems) {
	for _, p := range list {
		if isFile(arg) && p.File == filepath.Base(arg) {
			p.File = arg
		}
		out = append(out, p)
	}
	return out
}
