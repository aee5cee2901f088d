package policy

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies/params"
)

func checkCommand(k *kit) *cobra.Command {
	return &cobra.Command{
		Use: "check POLICY...", Short: "Find what is wrong with policies", Args: cli.Takes(1, -1), ValidArgsFunction: k.complete,
		Long: `Check policies as a node does when it loads them: syntax, names that nobody defines, parameters, unknown keys; then
call them on made-up pools, with and without readings, in a kept and in a fresh state, which finds errors in rare
branches and state that is hidden between decisions. All problems of all policies are said at once, with file and line.`,
		Example: "epumgmt policy check npreserving\nepumgmt policy check ./office-hours.lua",
		RunE:    func(_ *cobra.Command, args []string) error { return k.check(args) },
	}
}

// checked is one policy's outcome.
type checked struct {
	Name     string   `json:"name"`
	Hash     string   `json:"hash"`
	Warnings []string `json:"warnings"`
}

func (k *kit) check(args []string) error {
	answer := struct {
		Policies []checked `json:"policies"`
	}{Policies: []checked{}}
	table := cli.Table{Columns: []cli.Column{{Name: "POLICY"}, {Name: "VERSION"}, {Name: "RESULT"}}}
	var problems params.Problems
	var lines []cli.Line
	for _, arg := range args {
		n, err := k.find(arg)
		if err != nil {
			return err
		}
		src, err := n.lib.Source(n.name)
		if err != nil {
			return err
		}
		r := n.lib.Examine(n.name, src)
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
