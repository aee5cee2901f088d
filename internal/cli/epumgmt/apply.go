package epumgmt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
)

const filesBytesMax = 4 << 20 // of all documents of one command; the relay carries no more than twice this

// planFile is what plan --out saves: enough to refuse when the world or the files moved since.
type planFile struct {
	Schema string `json:"schema"`
	Type   string `json:"type"`
	Index  string `json:"index"`
	SHA256 string `json:"files_sha256"`
}

const planFileType = "plan-file"

func planCommand(s *session) *cobra.Command {
	var from []string
	var out string
	var detailed, defaults bool
	c := &cobra.Command{
		Use: "plan -f DIR", Short: "Show what apply would change", Args: cli.Takes(0, 0),
		Long: `Read the pools, sites and deployable types in *.yaml files of folders and those below them, and show
what applying them would change: + add, ~ change, - remove. What scale or reconfigure changed since the
last apply is shown with who did it. Of what is new, defaults are shown that may cost money or end
machines; --defaults shows all. Nothing changes.`,
		Example: "epumgmt plan -f pools\nepumgmt plan -f pools --defaults\nepumgmt plan -f pools --out pools.plan",
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := s.files(from)
			if err != nil {
				return err
			}
			p, err := ask[*msg.Plan](cmd.Context(), s, &msg.PlanQuery{Files: files, Dir: s.env.Dir})
			if err != nil {
				return err
			}
			if out != "" {
				if err := s.savePlan(out, p, files); err != nil {
					return err
				}
			}
			v := drawing{summary: planSummary, defaults: defaults}.view(cli.TypeOf(p), p, p.GetChanges())
			if n := counts(p.GetChanges()); n.sum() > 0 {
				v.Hints = []cli.Line{cli.L("Next: epumgmt apply -f %s", strings.Join(from, " -f "))}
			}
			if err := s.print.Print(v); err != nil {
				return err
			}
			if n := counts(p.GetChanges()); detailed && n.sum() > 0 {
				return cli.Exit{Code: cli.CodeAct}
			}
			return nil
		},
	}
	fileFlag(c, &from)
	c.Flags().StringVar(&out, "out", "", "save the plan as `FILE` for apply --plan")
	c.Flags().BoolVar(&defaults, "defaults", false, "show every default of what is new")
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 3 when there are changes")
	return c
}

func fileFlag(c *cobra.Command, from *[]string) {
	c.Flags().StringArrayVarP(from, "filename", "f", nil, "`DIR` or file to read; may be repeated")
}

func applyCommand(s *session) *cobra.Command {
	var from []string
	var plan, confirm string
	c := &cobra.Command{
		Use: "apply -f DIR", Short: "Make pools, sites and types as the files say", Args: cli.Takes(0, 0),
		Long: `Read files as plan does and make it so. With --plan it is refused (exit code 12) when files or state
moved since that plan. If something would be removed and no plan was reviewed, the names must be
confirmed, with commas between them.`,
		Example: "epumgmt apply -f pools\nepumgmt apply -f pools --plan pools.plan",
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := s.files(from)
			if err != nil {
				return err
			}
			index := ""
			if plan != "" {
				index, err = s.loadPlan(plan, files)
			} else {
				index, err = s.reviewed(cmd, files, from, confirm)
			}
			if err != nil {
				return err
			}
			a, err := ask[*msg.Applied](cmd.Context(), s, &msg.Apply{Files: files, Index: index, Dir: s.env.Dir})
			if err != nil {
				return err
			}
			v := drawing{summary: appliedSummary}.view(cli.TypeOf(a), a, a.GetChanges())
			v.Hints = []cli.Line{cli.L("Next: epumgmt status")}
			return s.print.Print(v)
		},
	}
	fileFlag(c, &from)
	c.Flags().StringVar(&plan, "plan", "", "only do what the plan in `FILE` showed")
	c.Flags().StringVar(&confirm, "confirm", "", "`NAMES` of what may be removed")
	return c
}

// reviewed plans, and asks for confirmation when something would be removed.
func (s *session) reviewed(cmd *cobra.Command, files []*msg.File, from []string, confirm string) (index string, err error) {
	p, err := ask[*msg.Plan](cmd.Context(), s, &msg.PlanQuery{Files: files, Dir: s.env.Dir})
	if err != nil {
		return "", err
	}
	var gone []string
	for _, c := range p.GetChanges() {
		if c.GetAction() == "remove" {
			gone = append(gone, c.GetName())
		}
	}
	if len(gone) == 0 {
		return p.GetIndex(), nil
	}
	return p.GetIndex(), cli.Confirmation{
		Given: confirm, Want: strings.Join(gone, ","), Command: "epumgmt apply -f " + strings.Join(from, " -f "),
		Stake: "this removes " + strings.Join(gone, ", "),
	}.Ask(cmd.Context(), s.io, s.env.StdinTTY, func() error {
		return s.onStderr(drawing{summary: planSummary}.view(cli.TypeOf(p), p, p.GetChanges()))
	})
}

// onStderr shows what a question is about, for people, whatever the form of the answer will be.
func (s *session) onStderr(v cli.View) error {
	settings := s.out
	settings.Form, settings.Columns = cli.FormTable, nil
	p := &cli.Printer{Settings: settings, Out: s.io.Err, Err: s.io.Err, Paint: s.print.ErrPaint, Ellipsis: s.print.Ellipsis}
	if s.env.StderrTTY {
		p.Width = s.env.Width
	}
	return p.Print(v)
}

// files reads what -f names: a file as it is, a folder with all *.yaml and *.yml below it. Hidden
// folders are left out. The node checks what is in them, all problems at once.
func (s *session) files(from []string) ([]*msg.File, error) {
	if len(from) == 0 {
		return nil, cli.Usage("epumgmt plan -f DIR", "-f is missing: which files?")
	}
	var files []*msg.File
	total := 0
	add := func(name string) error {
		raw, err := os.ReadFile(s.path(name))
		if err != nil {
			return readError(name, err)
		}
		if total += len(raw); total > filesBytesMax {
			return cli.Usage("name fewer files", "the files are larger than %d MiB together", filesBytesMax>>20)
		}
		if !slices.ContainsFunc(files, func(f *msg.File) bool { return f.GetPath() == name }) {
			files = append(files, &msg.File{Path: name, Content: raw})
		}
		return nil
	}
	for _, name := range from {
		info, err := os.Stat(s.path(name))
		if err != nil {
			return nil, readError(name, err)
		}
		if !info.IsDir() {
			err = add(name)
		} else {
			err = s.walk(name, add)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, cli.Usage("name a folder that has some", "there is no *.yaml file in %s", strings.Join(from, ", "))
	}
	return files, nil
}

func (s *session) walk(dir string, add func(string) error) error {
	root := s.path(dir)
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return readError(path, err)
		}
		hidden := strings.HasPrefix(d.Name(), ".") && path != root
		switch ext := filepath.Ext(path); {
		case hidden && d.IsDir():
			return fs.SkipDir
		case hidden, d.IsDir(), ext != ".yaml" && ext != ".yml":
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return readError(path, err)
		}
		return add(filepath.Join(dir, rel))
	})
}

// digest covers names and contents of files in their order.
func digest(files []*msg.File) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d\n", f.GetPath(), len(f.GetContent()))
		h.Write(f.GetContent())
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *session) savePlan(name string, p *msg.Plan, files []*msg.File) error {
	raw, err := json.MarshalIndent(planFile{Schema: cli.Schema, Type: planFileType, Index: p.GetIndex(), SHA256: digest(files)}, "", "  ")
	if err != nil {
		return epu.E(epu.Internal, "save the plan as", name, err)
	}
	if err := os.WriteFile(s.path(name), append(raw, '\n'), 0o644); err != nil {
		return cli.Usage("--out with a file that can be written", "save the plan: %w", err)
	}
	s.print.Note("the plan is in %s", name)
	return nil
}

// loadPlan gives the index of a saved plan, if the files are the same as then.
func (s *session) loadPlan(name string, files []*msg.File) (string, error) {
	raw, err := os.ReadFile(s.path(name))
	if err != nil {
		return "", readError(name, err)
	}
	var p planFile
	if err := json.Unmarshal(raw, &p); err != nil || p.Schema != cli.Schema || p.Type != planFileType || p.Index == "" {
		return "", cli.Usage("make one with: epumgmt plan -f DIR --out FILE", "%s is no saved plan", name)
	}
	if p.SHA256 != digest(files) {
		return "", &epu.Error{
			Kind: epu.Conflict, Op: "apply the plan", On: name, Err: errors.New("the files changed since it was made"),
			Try: "epumgmt plan again, look, and apply that",
		}
	}
	return p.Index, nil
}

// The last lines of plan and apply.
const (
	planSummary    = "Plan: %d to add, %d to change, %d to remove, %d unchanged."
	appliedSummary = "Applied: %d added, %d changed, %d removed, %d unchanged."
)

// tally counts changes by their action.
type tally struct{ add, change, remove, none int }

func (t tally) sum() int { return t.add + t.change + t.remove }

func counts(changes []*msg.Change) tally {
	var t tally
	for _, c := range changes {
		switch c.GetAction() {
		case "add":
			t.add++
		case "change":
			t.change++
		case "remove":
			t.remove++
		default:
			t.none++
		}
	}
	return t
}

// difference shows what a setting becomes; one that was not or will not be there says so.
func difference(d *msg.Difference) string {
	switch {
	case d.GetBefore() == "":
		return d.GetAfter()
	case d.GetAfter() == "":
		return d.GetBefore() + " -> not set"
	}
	return d.GetBefore() + " -> " + d.GetAfter()
}

// drawing is how changes are drawn: with the symbols that Terraform made known.
type drawing struct {
	summary  string
	defaults bool // all of them
}

func (d drawing) view(typ string, data any, changes []*msg.Change) cli.View {
	v := cli.View{Type: typ, Data: data}
	for _, c := range changes {
		v.Lines = append(v.Lines, d.change(c)...)
	}
	n := counts(changes)
	if n.sum() == 0 {
		v.Lines = append(v.Lines, cli.L("No changes: %s already as the files say.", plural(n.none, "document")))
		return v
	}
	v.Lines = append(v.Lines, cli.L(d.summary, n.add, n.change, n.remove, n.none))
	return v
}

// change draws one change. What stays as it is, is only counted in the summary.
func (d drawing) change(c *msg.Change) []cli.Line {
	symbol, tone := " ", cli.Plain
	switch c.GetAction() {
	case "add":
		symbol, tone = "+", cli.Good
	case "change":
		symbol, tone = "~", cli.Warn
	case "remove":
		symbol, tone = "-", cli.Bad
	default:
		return nil
	}
	lines := []cli.Line{{{Text: symbol, Tone: tone}, cli.Text(fmt.Sprintf(" %s %s", c.GetKind(), c.GetName()))}}
	hidden := 0
	for _, x := range c.GetDifferences() {
		added := c.GetAction() == "add"
		switch {
		case added && tellsNothing(x):
			continue
		case added && x.GetByDefault() && !x.GetWeighty() && !d.defaults:
			hidden++
			continue
		}
		text := fmt.Sprintf("    %s: %s", x.GetKey(), difference(x))
		if x.GetBy() != "" {
			text += "   (" + x.GetBy() + ")"
		} else if added && x.GetByDefault() {
			text += "   (default)"
		}
		lines = append(lines, cli.L("%s", text))
	}
	if hidden > 0 {
		lines = append(lines, cli.L("    and %s (epumgmt plan --defaults shows them)", plural(hidden, "more default")))
	}
	if c.GetEffect() != "" {
		lines = append(lines, cli.L("    = %s", c.GetEffect()))
	}
	return lines
}

// tellsNothing is said of a difference of something new that stands in its heading already, or is empty.
// Machine output has them all.
func tellsNothing(d *msg.Difference) bool {
	switch d.GetKey() {
	case "schema", "kind", "name":
		return true
	}
	return d.GetAfter() == "" || d.GetAfter() == "[]"
}
