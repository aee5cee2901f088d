package policy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// Host is the program that the commands are a part of.
type Host struct {
	Env   *cli.Env
	IO    *cli.IO
	Print func() *cli.Printer // valid once a command runs
	// Ask brings a question or an order to the node. Only the commands about a node's versions call it.
	Ask func(ctx context.Context, m proto.Message) (proto.Message, error)
	// More makes further commands of the group, which load policies as those here do.
	More func(load func(arg string) (*policies.Policy, error)) []*cobra.Command
}

// Load finds and compiles a policy by its file, or by its name among the built-in ones.
func Load(h Host, arg string) (*policies.Policy, error) {
	p, _, err := (&kit{Host: h}).load(arg)
	return p, err
}

// kit is what the commands of one run share.
type kit struct {
	Host
	folder string // --policies
}

// Command is the group `policy` with all its commands.
func Command(h Host) *cobra.Command {
	k := &kit{Host: h}
	group := cli.Parent(&cobra.Command{
		Use: "policy", Short: "Write, check, test and simulate policies, and put them in force",
		Long: `The commands of this group work on Lua policies. Only apply, rollback, versions, repl and shadow need a node. A
policy is named by its file, such as ./queuelen.lua, or by its name, which is looked up in --policies DIR, then among the
built-in ones, then in this folder.`,
		Example: "epumgmt policy list\nepumgmt policy doc npreserving",
	})
	group.PersistentFlags().StringVar(&k.folder, "policies", "", "look in this `DIR` before the built-in policies")
	commands := []*cobra.Command{
		listCommand(k), docCommand(k), newCommand(k), checkCommand(k), testCommand(k), simulateCommand(k),
		applyCommand(k), rollbackCommand(k), versionsCommand(k),
	}
	if h.More != nil {
		commands = append(commands, h.More(func(arg string) (*policies.Policy, error) {
			p, _, err := k.load(arg)
			return p, err
		})...)
	}
	for _, c := range commands {
		c.Example = "  " + strings.ReplaceAll(c.Example, "\n", "\n  ") // as help indents everything else
		group.AddCommand(c)
	}
	return group
}

// path makes a file's name absolute, in the folder the program was started in.
func (k *kit) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(k.Env.Dir, name)
}

// folders are the operator's own folders, the first one first.
func (k *kit) folders(first string) []fs.FS {
	var out []fs.FS
	if first != "" {
		out = append(out, os.DirFS(first))
	}
	if k.folder != "" && k.path(k.folder) != first {
		out = append(out, os.DirFS(k.path(k.folder)))
	}
	return out
}

// library finds policies in a folder (empty = none), then in --policies, then among the built-in ones.
func (k *kit) library(first string) (*policies.Library, error) {
	if k.folder != "" {
		if err := isFolder(k.path(k.folder)); err != nil {
			return nil, &epu.Error{Kind: epu.NotFound, Op: "open the folder of policies", On: k.folder, Err: err, Try: "--policies DIR"}
		}
	}
	return policies.NewLibrary(append(k.folders(first), scripts.Policies())...).Timed(k.Env.Now), nil
}

func isFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return cli.Reason(err)
	}
	if !info.IsDir() {
		return errors.New("it is no folder")
	}
	return nil
}

// isFile says that an argument names a file and not a policy by its name.
func isFile(arg string) bool {
	return strings.ContainsRune(arg, '/') || strings.ContainsRune(arg, filepath.Separator) || filepath.Ext(arg) != ""
}

// here is the file of this folder, or of the one of epud dev, that a bare name may mean, or "".
func (k *kit) here(name string) string {
	for _, file := range []string{"./" + name + ".lua", devPolicies + "/" + name + ".lua"} {
		if info, err := os.Stat(k.path(file)); err == nil && !info.IsDir() {
			return file
		}
	}
	return ""
}

// named is a policy as an argument names it: the library to find it in, and its name there.
type named struct {
	lib  *policies.Library
	name string
	show string // how people are told of it
}

// find takes an argument of a command apart.
func (k *kit) find(arg string) (named, error) {
	if !isFile(arg) {
		lib, err := k.library("")
		if err != nil {
			return named{}, err
		}
		here := k.here(arg)
		_, missing := fs.Stat(lib.FS(), arg+".lua")
		if here != "" && missing != nil {
			return k.find(here)
		}
		if here == "" && missing != nil {
			return named{}, k.unknown(lib, arg)
		}
		if here != "" && k.origin(arg) == builtIn {
			k.Print().Note("%s is the built-in policy; the file in this folder is %s", arg, here)
		}
		return named{lib: lib, name: arg, show: arg}, nil
	}
	path := k.path(arg)
	base, isLua := strings.CutSuffix(filepath.Base(path), ".lua")
	if !isLua {
		return named{}, cli.Usage("name.lua, or the name of a policy", "%s is no policy: policies are files that end in .lua", arg)
	}
	if _, err := os.Stat(path); err != nil {
		return named{}, &epu.Error{Kind: epu.NotFound, Op: "read policy", On: arg, Err: cli.Reason(err), Try: "epumgmt policy list"}
	}
	lib, err := k.library(filepath.Dir(path))
	return named{lib: lib, name: base, show: arg}, err
}

// examine finds the policy that an argument names and tries it out. A report with problems is no error.
func (k *kit) examine(ctx context.Context, arg string) (named, policies.Report, error) {
	n, err := k.find(arg)
	if err != nil {
		return n, policies.Report{}, err
	}
	src, err := n.lib.Source(n.name)
	if err != nil {
		return n, policies.Report{}, err
	}
	r, err := n.lib.Examine(ctx, n.name, src)
	return n, r, err
}

// unknown says that a name means no policy, and which one may have been meant: those of this folder have names as well.
func (k *kit) unknown(lib *policies.Library, name string) error {
	_, err := lib.Source(name)
	all, listed := lib.Names()
	if epu.KindOf(err) != epu.NotFound || listed != nil {
		return err
	}
	return policies.NotFound(name, append(all, k.namesHere(all)...))
}

// load finds and compiles a policy.
func (k *kit) load(arg string) (*policies.Policy, named, error) {
	n, err := k.find(arg)
	if err != nil {
		return nil, n, err
	}
	p, err := n.lib.Load(n.name)
	return p, n, err
}

// complete completes names of policies; files complete by themselves.
func (k *kit) complete(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
	if isFile(start) {
		return nil, cobra.ShellCompDirectiveDefault
	}
	lib, err := k.library("")
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	all, _ := lib.Names() // silent on failure
	var names []string
	for _, n := range append(all, k.namesHere(all)...) {
		if strings.HasPrefix(n, start) {
			names = append(names, n)
		}
	}
	return names, cobra.ShellCompDirectiveDefault
}
