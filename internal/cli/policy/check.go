package policy

import (
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/params"
)

func checkCommand(k *kit) *cobra.Command {
	return &cobra.Command{
		Use: "check POLICY...", Short: "Find what is wrong with policies", Args: takes(1, -1), ValidArgsFunction: k.complete,
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
	for _, arg := range args {
		p, n, err := k.load(arg)
		var list params.Problems
		switch {
		case errors.As(err, &list):
		case err != nil:
			return err
		default:
			list = examine(p)
		}
		if len(list) > 0 {
			problems = append(problems, placed(list, arg)...)
			continue
		}
		answer.Policies = append(answer.Policies, checked{Name: n.name, Hash: p.Hash, Warnings: []string{}})
		table.Rows = append(table.Rows, cli.Row{
			Name: n.name, Data: answer.Policies[len(answer.Policies)-1], Type: "policy-check",
			Cells: []cli.Cell{cli.Text(n.show), cli.Text(p.Hash), {Text: "ok", Tone: cli.Good}},
		})
	}
	if len(problems) > 0 {
		return &epu.Error{Kind: epu.Invalid, Op: "check policies", Err: problems}
	}
	return k.Print().Print(cli.View{Type: "policy-check", Data: answer, Tables: []cli.Table{table}})
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

// examine calls a policy that could be loaded, where its defaults are a whole configuration.
func examine(p *policies.Policy) params.Problems {
	_, problems := p.Check(nil)
	for _, d := range p.Params {
		if d.Required {
			return nil
		}
	}
	return problems
}
