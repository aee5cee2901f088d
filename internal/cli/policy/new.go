package policy

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies/policytest"
)

func newCommand(k *kit) *cobra.Command {
	var from, dir string
	c := &cobra.Command{
		Use: "new NAME", Short: "Write a policy with its tests to start from", Args: cli.Takes(1, 1),
		Long: `Write NAME.lua, NAME_test.lua and NAME` + policytest.ScenarioSuffix + ` into this folder, or into ./policies when there is one, which is where
epud dev reads them; and what editors need to complete and check Lua (.luarc.json, .luacheckrc, epu.d.lua) where it is
missing. What is written passes check and test at once.

With --from the policy is a copy of another one, with that one's tests.`,
		Example: "epumgmt policy new office-hours\nepumgmt policy new steady --from npreserving",
		RunE:    func(_ *cobra.Command, args []string) error { return k.create(args[0], from, cmp.Or(dir, k.home())) },
	}
	c.Flags().StringVar(&from, "from", "", "copy this `POLICY`")
	c.Flags().StringVar(&dir, "dir", "", "write into this `DIR` (default ./policies if it is there, or .)")
	return c
}

// What epud dev has in the folder that it runs in: policies that it reads, and what it keeps.
const (
	devPolicies = "policies"
	devData     = ".epu"
)

// home is where a new policy goes: to those that epud dev reads, if there is such a folder.
func (k *kit) home() string {
	if isFolder(k.path(devPolicies)) == nil {
		return devPolicies
	}
	return "."
}

// hereabouts is where a command without arguments looks: in this folder and in the one of epud dev, as far as they
// have files that it wants.
func (k *kit) hereabouts(wanted func(name string) bool) (out []string) {
	for _, dir := range []string{".", devPolicies} {
		entries, err := os.ReadDir(k.path(dir))
		if err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && wanted(e.Name()) }) {
			out = append(out, dir)
		}
	}
	if len(out) == 0 {
		return []string{"."} // which says what is missing
	}
	return out
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// file is one that is to be written.
type file struct {
	name string
	text string
	keep bool // leave it alone when it is there
}

func (k *kit) create(name, from, dir string) error {
	if !nameForm.MatchString(name) || strings.HasSuffix(name, "_test") {
		return cli.Usage("epumgmt policy new office-hours", "%q can't be a policy's name: small letters, digits, - and _, a letter first, and not _test at its end", name)
	}
	files, err := k.sources(name, from)
	if err != nil {
		return err
	}
	files = append(files, editorFiles()...)
	root := k.path(dir)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return &epu.Error{Kind: epu.Unavailable, Op: "make folder", On: dir, Err: cli.Reason(err)}
	}
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(root, f.name)); err == nil && !f.keep {
			return &epu.Error{Kind: epu.Conflict, Op: "write", On: filepath.Join(dir, f.name), Err: errors.New("it is there already"), Try: "choose another name"}
		}
	}
	answer := struct {
		Files []string `json:"files"`
	}{Files: []string{}}
	lines := []cli.Line{}
	for _, f := range files {
		path := filepath.Join(root, f.name)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := os.WriteFile(path, []byte(f.text), 0o644); err != nil {
			return &epu.Error{Kind: epu.Unavailable, Op: "write", On: filepath.Join(dir, f.name), Err: cli.Reason(err)}
		}
		shown := filepath.Join(dir, f.name)
		answer.Files = append(answer.Files, shown)
		lines = append(lines, cli.L("wrote %s", shown))
	}
	lua := filepath.Join(dir, name+".lua")
	if !isFile(lua) || !strings.ContainsRune(lua, filepath.Separator) {
		lua = "./" + lua
	}
	hints := []cli.Line{cli.L("Next: epumgmt policy check %s && epumgmt policy test %s", lua, dir)}
	if here := filepath.Clean(root); here == filepath.Clean(k.path(".")) && isFolder(filepath.Join(here, devData)) == nil {
		hints = append(hints, cli.L("epud dev reads ./%s: epumgmt policy new with --dir %s writes there", devPolicies, devPolicies))
	}
	return k.Print().Print(cli.View{Type: "policy-new", Data: answer, Lines: lines, Hints: hints})
}

// sources are the policy and its tests.
func (k *kit) sources(name, from string) ([]file, error) {
	if from == "" {
		put := strings.NewReplacer("NAME", name).Replace
		return []file{
			{name: name + ".lua", text: put(templatePolicy)},
			{name: name + "_test.lua", text: put(templateTest)},
			{name: name + policytest.ScenarioSuffix, text: put(templateScenarios)},
		}, nil
	}
	p, n, err := k.load(from)
	if err != nil {
		return nil, err
	}
	src, err := n.lib.Source(n.name)
	if err != nil {
		return nil, err
	}
	out := []file{{name: name + ".lua", text: renamed(string(src), p.Name, name)}}
	for _, t := range []struct{ to, from, other string }{
		{"_test.lua", p.Name + "_test.lua", ""},
		{policytest.ScenarioSuffix, p.Name + policytest.ScenarioSuffix, policytest.ScenarioFolder + "/" + p.Name + ".yaml"},
	} {
		for _, path := range []string{t.from, t.other} {
			if raw, err := fs.ReadFile(n.lib.FS(), path); path != "" && err == nil {
				out = append(out, file{name: name + t.to, text: renamed(string(raw), p.Name, name)})
				break
			}
		}
	}
	if len(out) < 3 && !strings.HasSuffix(out[len(out)-1].name, policytest.ScenarioSuffix) {
		out = append(out, file{name: name + policytest.ScenarioSuffix, text: fmt.Sprintf(templateCopied, name)})
	}
	return out, nil
}

// renamed replaces a policy's name where it stands for the policy: in the first comment, in test.policy
// and in the key policy of scenarios.
func renamed(text, old, name string) string {
	o := regexp.QuoteMeta(old)
	for _, r := range []struct{ from, to string }{
		{`(?m)\A(-- )` + o + `:`, "${1}" + name + ":"},
		{`(?m)^(-- Tests of )` + o + `\b`, "${1}" + name},
		{`(test\.policy\s*\(?\s*["'])` + o + `(["'])`, "${1}" + name + "${2}"},
		{`(?m)^(policy:\s*)(?:\.\./)?` + o + `(\.lua)?\s*$`, "${1}" + name + "${2}"},
	} {
		text = regexp.MustCompile(r.from).ReplaceAllString(text, r.to)
	}
	return text
}
