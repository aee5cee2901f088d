package policy

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies/params"
)

func docCommand(k *kit) *cobra.Command {
	return &cobra.Command{
		Use: "doc POLICY", Short: "Show what a policy does and its parameters", Args: cli.Takes(1, 1), ValidArgsFunction: k.complete,
		Long:    `Show what a policy does and each of its parameters: what a pool's policy.conf may hold.`,
		Example: "epumgmt policy doc npreserving\nepumgmt policy doc npreserving -o json",
		RunE:    func(_ *cobra.Command, args []string) error { return k.doc(args[0]) },
	}
}

func (k *kit) doc(arg string) error {
	_, n, err := k.load(arg)
	if err != nil {
		return err
	}
	d := k.describe(n.lib, n.name)
	if isFile(arg) {
		d.From = arg
	}
	src, err := n.lib.Source(n.name)
	if err != nil {
		return err
	}
	d.Details = header(string(src))
	table := cli.Table{Columns: []cli.Column{{Name: "PARAMETER"}, {Name: "TYPE"}, {Name: "DEFAULT"}, {Name: "RANGE", Optional: true}, {Name: "UNIT", Optional: true}, {Name: "WHAT IT IS"}}}
	for _, p := range d.Params {
		table.Rows = append(table.Rows, cli.Row{
			Name: p.Name, Data: p, Type: "policy-param",
			Cells: []cli.Cell{cli.Text(p.Name), cli.Text(p.typeText()), cli.Text(p.defaultText()), cli.Text(p.rangeText()), cli.Text(p.Unit), cli.Text(p.whatText())},
		})
	}
	head := []cli.Line{cli.L("%s (%s, version %s)", d.Name, d.From, d.Hash), cli.L("%s", d.Doc)}
	for line := range strings.Lines(d.Details) {
		if len(head) == 2 {
			head = append(head, cli.Line{})
		}
		head = append(head, cli.L("%s", strings.TrimSuffix(line, "\n")))
	}
	if k.Print().Settings.Form == cli.FormTable || k.Print().Settings.Form == cli.FormWide {
		if err := k.Print().Print(cli.View{Lines: append(head, cli.Line{})}); err != nil {
			return err
		}
	}
	if len(d.Params) == 0 {
		return k.Print().Print(cli.View{Type: "policy", Data: d, Lines: []cli.Line{cli.L("It takes no configuration.")}})
	}
	return k.Print().Print(cli.View{Type: "policy", Data: d, Tables: []cli.Table{table}})
}

// header is the comment at the top of a source.
func header(src string) string {
	var b strings.Builder
	for line := range strings.Lines(src) {
		text, comment := strings.CutPrefix(line, "--")
		if !comment || strings.HasPrefix(text, "-@") {
			break
		}
		b.WriteString(strings.TrimPrefix(text, " "))
	}
	return b.String()
}

func (p paramDoc) typeText() string {
	switch {
	case p.Of != "":
		return p.Type + " of " + p.Of
	case len(p.Values) > 0:
		return strings.Join(p.Values, "|")
	}
	return p.Type
}

func (p paramDoc) defaultText() string {
	switch v := p.Default.(type) {
	case nil:
		if p.Required {
			return "(required)"
		}
		return "-"
	case string:
		if p.param.Type == params.DurationOf {
			return params.DurationText(v)
		}
		return v
	case float64:
		return params.NumberText(v)
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(raw)
	}
}

func (p paramDoc) rangeText() string {
	switch {
	case p.Min != nil && p.Max != nil:
		return p.param.BoundText(*p.Min) + " to " + p.param.BoundText(*p.Max)
	case p.Min != nil:
		return "at least " + p.param.BoundText(*p.Min)
	case p.Max != nil:
		return "at most " + p.param.BoundText(*p.Max)
	}
	return ""
}

func (p paramDoc) whatText() string {
	if len(p.Aliases) == 0 {
		return p.Doc
	}
	return p.Doc + " (old name: " + strings.ReplaceAll(strings.Join(p.Aliases, ", "), "!", "not ") + ")"
}
