package policy

import (
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/scripts"
)

// builtIn says in lists that a policy comes with the program.
const builtIn = "built-in"

// policyDoc is a policy in machine output. Field names are a contract.
type policyDoc struct {
	Name    string     `json:"name"`
	From    string     `json:"from"` // "built-in", or the folder
	Hash    string     `json:"hash,omitempty"`
	Doc     string     `json:"doc,omitempty"`
	Details string     `json:"details,omitempty"` // the comment at the top of the file
	Params  []paramDoc `json:"params"`
	Error   string     `json:"error,omitempty"` // it can't be loaded
}

// paramDoc is one parameter.
type paramDoc struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Of       string   `json:"of,omitempty"`
	Unit     string   `json:"unit,omitempty"`
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	Values   []string `json:"values,omitempty"`
	Default  any      `json:"default"`
	Required bool     `json:"required"`
	Doc      string   `json:"doc,omitempty"`
	Aliases  []string `json:"aliases,omitempty"` // old names

	param *params.Param
}

func listCommand(k *kit) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the policies there are", Args: cli.Takes(0, 0),
		Long: `List the built-in policies, those of --policies DIR, which take the place of built-in ones of the same name, and those of
this folder, which a name of neither means.`,
		Example: "epumgmt policy list\nepumgmt policy list -o wide",
		RunE:    func(*cobra.Command, []string) error { return k.list() },
	}
}

func (k *kit) list() error {
	lib, err := k.library("")
	if err != nil {
		return err
	}
	names, err := lib.Names()
	if err != nil {
		return err
	}
	here := k.namesHere(names)
	answer := struct {
		Policies []policyDoc `json:"policies"`
	}{Policies: []policyDoc{}}
	table := cli.Table{Columns: []cli.Column{{Name: "POLICY"}, {Name: "FROM", Optional: true}, {Name: "PARAMS", Right: true}, {Name: "HASH", Wide: true}, {Name: "WHAT IT DOES"}}}
	for _, name := range slices.Sorted(slices.Values(slices.Concat(names, here))) {
		from := lib
		if slices.Contains(here, name) {
			n, err := k.find(k.here(name))
			if err != nil {
				return err
			}
			from = n.lib
		}
		d := k.describe(from, name)
		answer.Policies = append(answer.Policies, d)
		what := cli.Text(d.Doc)
		if d.Error != "" {
			what = cli.Cell{Text: "broken: " + d.Error, Tone: cli.Bad}
		}
		table.Rows = append(table.Rows, cli.Row{
			Name: name, Data: d, Type: "policy",
			Cells: []cli.Cell{cli.Text(name), cli.Text(d.From), cli.Text(strconv.Itoa(len(d.Params))), cli.Text(d.Hash), what},
		})
	}
	return k.Print().Print(cli.View{
		Type: "policy-list", Data: answer, Tables: []cli.Table{table},
		Hints: []cli.Line{cli.L("Next: epumgmt policy doc %s", names[len(names)-1])},
	})
}

// namesHere are the policies of this folder, and of the one of epud dev, that their bare names mean, because none of the
// others has them.
func (k *kit) namesHere(others []string) (out []string) {
	for _, dir := range []string{".", devPolicies} {
		entries, _ := os.ReadDir(k.path(dir)) // none where it can't be read
		for _, e := range entries {
			name, isLua := strings.CutSuffix(e.Name(), ".lua")
			if isLua && !e.IsDir() && policies.ValidName(name) && !slices.Contains(others, name) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// describe is what is said of a policy; one that can't be loaded is described by why.
func (k *kit) describe(lib *policies.Library, name string) policyDoc {
	d := policyDoc{Name: name, From: k.origin(name), Params: []paramDoc{}}
	p, err := lib.Load(name)
	if err != nil {
		d.Error, _, _ = strings.Cut(err.Error(), "\n")
		return d
	}
	d.Hash, d.Doc = p.Hash, p.Doc
	for i := range p.Params {
		d.Params = append(d.Params, paramOf(&p.Params[i]))
	}
	return d
}

// origin is where a name's policy comes from.
func (k *kit) origin(name string) string {
	if k.folder != "" {
		if _, err := fs.Stat(os.DirFS(k.path(k.folder)), name+".lua"); err == nil {
			return k.folder
		}
	}
	if _, err := fs.Stat(scripts.Policies(), name+".lua"); err == nil {
		return builtIn
	}
	if here := k.here(name); here != "" {
		return here
	}
	return "./" + name + ".lua"
}

func paramOf(p *params.Param) paramDoc {
	d := paramDoc{
		Name: p.Name, Type: string(p.Type), Of: string(p.Of), Unit: p.Unit, Min: p.Min, Max: p.Max, Values: p.Values,
		Default: p.Default, Required: p.Required, Doc: p.Doc,
		param: p,
	}
	for _, a := range p.Aliases {
		name := a.Name
		if a.Negate {
			name = "!" + name
		}
		d.Aliases = append(d.Aliases, name)
	}
	return d
}
