package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
)

// poolsShown is how many pools one line names.
const poolsShown = 8

func applyCommand(k *kit) *cobra.Command {
	return &cobra.Command{
		Use: "apply POLICY", Short: "Put a version of a policy in force", Args: cli.Takes(1, 1), ValidArgsFunction: k.complete,
		Long: `Send a policy with all that it requires to the node, which keeps it as a version and has it decide from now on in
every pool that uses the policy and pins no other version. It is checked first, as by check, and then with the
configuration of each of these pools: all problems are said at once, and nothing changes unless there are none.`,
		Example: "epumgmt policy apply ./office-hours.lua\nepumgmt policy apply office-hours --policies ./policies",
		RunE:    func(cmd *cobra.Command, args []string) error { return k.apply(cmd.Context(), args[0]) },
	}
}

func rollbackCommand(k *kit) *cobra.Command {
	return &cobra.Command{
		Use: "rollback NAME [VERSION]", Short: "Put an earlier version of a policy in force", Args: cli.Takes(1, 2),
		ValidArgsFunction: k.completeVersions,
		Long: `Put the version of a policy in force that stood before the one that is, or the one named by its hash or how that
begins. It is checked with the configuration of every pool that takes it, as by apply.`,
		Example: "epumgmt policy rollback office-hours\nepumgmt policy rollback office-hours 3f2a",
		RunE: func(cmd *cobra.Command, args []string) error {
			m := &msg.PolicyRollback{Name: args[0]}
			if len(args) > 1 {
				m.Hash = args[1]
			} else if before, err := k.before(cmd.Context(), args[0]); err != nil {
				return err
			} else {
				m.Hash = before // a command that is sent twice must not go back twice
			}
			return k.change(cmd.Context(), m)
		},
	}
}

func versionsCommand(k *kit) *cobra.Command {
	return &cobra.Command{
		Use: "versions [NAME]", Short: "List the versions of policies that a node keeps", Args: cli.Takes(0, 1),
		ValidArgsFunction: k.completeVersions,
		Long: `List the versions of one policy, or of all that were applied or are used, newest first: where each came from, who
applied it, whether it is in force and which pools run it. The newest ten of a policy are kept, and what pools run.`,
		Example: "epumgmt policy versions\nepumgmt policy versions office-hours -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &msg.PolicyVersionsQuery{}
			if len(args) > 0 {
				q.Name = args[0]
			}
			return k.versions(cmd.Context(), q)
		},
	}
}

// asked brings a message to the node and wants an answer of one type.
func asked[T proto.Message](ctx context.Context, k *kit, m proto.Message) (T, error) {
	var none T
	answer, err := k.Ask(ctx, m)
	if err != nil {
		return none, err
	}
	t, ok := answer.(T)
	if !ok {
		return none, &epu.Error{Kind: epu.Internal, Op: "ask", On: msg.NameOf(m), Err: errors.New("the node gave an answer of another kind")}
	}
	return t, nil
}

func (k *kit) apply(ctx context.Context, arg string) error {
	n, r, err := k.examine(ctx, arg)
	if err != nil {
		return err
	}
	if !r.Sound() {
		return &epu.Error{Kind: epu.Invalid, Op: "apply policy", On: arg, Err: placed(r.Problems, arg), Try: "mend it; nothing was sent to the node"}
	}
	m := &msg.PolicyApply{Name: n.name}
	for _, f := range r.Policy.Files() {
		m.Files = append(m.Files, &msg.File{Path: f.Path, Content: []byte(f.Text)})
	}
	return k.change(ctx, m)
}

// change sends an order and says what came of it.
func (k *kit) change(ctx context.Context, m proto.Message) error {
	done, err := asked[*msg.PolicyApplied](ctx, k, m)
	if err != nil {
		return err
	}
	v := cli.View{Type: cli.TypeOf(done), Data: done, Lines: applied(done)}
	if done.GetChanged() && len(done.GetPools()) > 0 {
		v.Hints = append(v.Hints, cli.L("Next: epumgmt explain %s", done.GetPools()[0]))
	}
	return k.Print().Print(v)
}

func applied(done *msg.PolicyApplied) []cli.Line {
	var lines []cli.Line
	switch {
	case !done.GetChanged():
		lines = append(lines, cli.L("%s %s is in force already (nothing changed)", done.GetName(), done.GetHash()))
	case done.GetBefore() == "":
		lines = append(lines, cli.L("%s %s is in force", done.GetName(), done.GetHash()))
	default:
		lines = append(lines, cli.L("%s %s is in force, was %s", done.GetName(), done.GetHash(), done.GetBefore()))
	}
	if done.GetChanged() {
		if done.GetBefore() != "" {
			for _, f := range done.GetFiles() {
				what, path, _ := strings.Cut(f, " ")
				lines = append(lines, cli.L("  %-8s %s", what, path))
			}
		}
		if len(done.GetPools()) == 0 {
			lines = append(lines, cli.L("  pools    none uses it"))
		} else {
			lines = append(lines, cli.L("  pools    %s: from now on", several(done.GetPools())))
		}
	}
	if len(done.GetPinned()) > 0 {
		lines = append(lines, cli.Line{{Text: "  pinned   ", Tone: cli.Warn}, cli.Text(several(done.GetPinned()) + ": no change, see policy.version")})
	}
	for _, w := range done.GetWarnings() {
		text := w.GetText()
		if w.GetFile() != "" {
			text = fmt.Sprintf("%s:%d: %s", w.GetFile(), w.GetLine(), text)
		}
		lines = append(lines, cli.Line{{Text: "warning: ", Tone: cli.Warn}, cli.Text(text)})
	}
	return lines
}

// several names a few of many.
func several(names []string) string {
	if more := len(names) - poolsShown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:poolsShown], ", "), more)
	}
	return strings.Join(names, ", ")
}

// before finds the version that stands before the one in force.
func (k *kit) before(ctx context.Context, name string) (string, error) {
	list, err := asked[*msg.PolicyVersions](ctx, k, &msg.PolicyVersionsQuery{Name: name})
	if err != nil {
		return "", err
	}
	all := list.GetVersions()
	i := slices.IndexFunc(all, (*msg.PolicyVersion).GetCurrent)
	if i < 0 || i+1 >= len(all) {
		return "", &epu.Error{
			Kind: epu.NotFound, Op: "roll back policy", On: name, Err: errors.New("no earlier version of it is kept"),
			Try: fmt.Sprintf("epumgmt policy versions %s lists those that are kept; epumgmt policy rollback %s HASH puts any of them in force", name, name),
		}
	}
	return all[i+1].GetHash(), nil
}

func (k *kit) versions(ctx context.Context, q *msg.PolicyVersionsQuery) error {
	list, err := asked[*msg.PolicyVersions](ctx, k, q)
	if err != nil {
		return err
	}
	t := cli.Table{Columns: []cli.Column{
		{Name: "POLICY"}, {Name: "VERSION"}, {Name: "IN FORCE"}, {Name: "FROM"}, {Name: "APPLIED"}, {Name: "BY", Optional: true}, {Name: "POOLS"},
	}}
	older := ""
	for i, v := range list.GetVersions() {
		current := cli.Text("-")
		if v.GetCurrent() {
			current = cli.Cell{Text: "yes", Tone: cli.Good}
			if i+1 < len(list.GetVersions()) && list.GetVersions()[i+1].GetName() == v.GetName() {
				older = v.GetName()
			}
		}
		applied := cli.Text("-")
		if v.GetApplied() != nil {
			applied = cli.Cell{Text: cli.Ago(v.GetApplied(), k.Env.Now()), Stamp: "-"}
		}
		t.Rows = append(t.Rows, cli.Row{Name: v.GetName() + " " + v.GetHash(), Message: v, Cells: []cli.Cell{
			cli.Text(v.GetName()), cli.Text(v.GetHash()), current, cli.Text(v.GetOrigin()), applied,
			cli.Text(orDash(v.GetBy())), cli.Text(orDash(several(v.GetPools()))),
		}})
	}
	view := cli.View{Type: cli.TypeOf(list), Data: list, Tables: []cli.Table{t}, Empty: "no policy was applied, and no pool uses one"}
	if older != "" {
		view.Hints = []cli.Line{cli.L("Next: epumgmt policy rollback %s", older)}
	}
	return k.Print().Print(view)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// completeVersions completes the names of policies that the node knows, and then hashes; silent on failure.
func (k *kit) completeVersions(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if k.Ask == nil || len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	q := &msg.PolicyVersionsQuery{}
	if len(args) == 1 {
		q.Name = args[0]
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), k.Env.Guess)
	defer cancel()
	list, err := asked[*msg.PolicyVersions](ctx, k, q)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, v := range list.GetVersions() {
		word := v.GetName()
		if len(args) == 1 {
			word = v.GetHash()
		}
		if strings.HasPrefix(word, start) && !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
