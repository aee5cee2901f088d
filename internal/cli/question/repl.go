package question

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/decision"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/params"
	"github.com/nimbus-epu/epu/policies/snapshot"
	"github.com/nimbus-epu/epu/policies/source"
)

const (
	lineBytesMax = 256 << 10
	fileBytesMax = 64 << 20
	lineTime     = 2 * time.Second // of one line; somebody waits for it
	memoryShown  = 300             // bytes
)

// Repl is the command `repl`.
func Repl(h Host) *cobra.Command {
	var file, id, candidate string
	var given settings
	c := &cobra.Command{
		Use: "repl [POOL]", Short: "Try lines of Lua on what a pool's policy sees",
		Long: `Read lines of Lua and run them on this machine, in the sandbox of policies, with control, state and conf as the
pool's policy has them: as they are now, as they were at a decision of the past (--decision), or as they were saved
(--file). Of an expression the values are printed, decide() shows what the policy would decide, and .help lists what
else there is. Nothing that is typed reaches the pool. In a pipe there is no prompt, and a line that fails makes the exit
code 1 at the end.`,
		Example: "epumgmt policy repl epu-web\nepumgmt policy repl epu-web --decision 01JC0000000000000000000001\nepumgmt policy repl --file snapshot.json",
		Args:    cli.Takes(0, 1), ValidArgsFunction: h.Pools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (file != "") {
				return cli.Usage("epumgmt policy repl epu-web, or epumgmt policy repl --file snapshot.json", "name a pool, or a file with a snapshot")
			}
			if file != "" && id != "" {
				return cli.Usage("epumgmt policy repl epu-web --decision "+id, "a file holds one snapshot: --decision goes with a pool")
			}
			doc, err := h.document(cmd.Context(), args, file, id)
			if err != nil {
				return err
			}
			p, err := h.policyOf(doc, candidate)
			if err != nil {
				return err
			}
			v, err := h.variant(given, cmd.CommandPath())
			if err != nil {
				return err
			}
			return repl(cmd.Context(), h, doc, p, v)
		},
	}
	c.Flags().StringVar(&file, "file", "", "`FILE` with a snapshot, as .save writes it")
	c.Flags().StringVar(&id, "decision", "", "`ID` of a past decision, whose inputs are seen")
	c.Flags().StringVar(&candidate, "policy", "", "`FILE` of a policy, or the name of one, in place of the pool's")
	given.flags(c.Flags(), "`KEY=VALUE` in place of a setting; may be repeated")
	return c
}

// document gets a snapshot from a file or from the node.
func (h Host) document(ctx context.Context, args []string, file, id string) (snapshot.Document, error) {
	if file != "" {
		raw, err := h.read(file)
		if err != nil {
			return snapshot.Document{}, err
		}
		return snapshot.Read(raw)
	}
	pool, err := h.Pool(args[0])
	if err != nil {
		return snapshot.Document{}, err
	}
	r, err := ask[*msg.SnapshotReply](ctx, h, &msg.SnapshotQuery{Pool: pool, Decision: id})
	if err != nil {
		return snapshot.Document{}, err
	}
	doc := snapshot.Document{
		Schema: snapshot.Schema, Type: snapshot.Type, Pool: epu.PoolID(pool), Conf: r.GetConf().AsMap(),
		Policy: snapshot.Policy{Name: r.GetPolicyName()},
	}
	for _, f := range r.GetPolicy() {
		doc.Policy.Files = append(doc.Policy.Files, snapshot.Source{Path: f.GetPath(), Text: string(f.GetContent())})
	}
	if err := json.Unmarshal(r.GetSnapshot(), &doc.Seen); err != nil {
		return doc, epu.E(epu.Internal, "read the snapshot of", pool, errForm)
	}
	return doc, nil
}

func (h Host) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(h.Env.Dir, name)
}

func (h Host) read(name string) ([]byte, error) {
	f, err := os.Open(h.path(name))
	if err != nil {
		return nil, &epu.Error{Kind: epu.NotFound, Op: "read snapshot", On: name, Err: cli.Reason(err), Try: "epumgmt policy repl POOL, and .save FILE there"}
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, fileBytesMax))
	if err != nil {
		return nil, epu.E(epu.Invalid, "read snapshot", name, cli.Reason(err))
	}
	return raw, nil
}

// policyOf is the policy that decides at the console: one that was named, the one that came with the snapshot, or the
// one of its name here.
func (h Host) policyOf(doc snapshot.Document, candidate string) (*policies.Policy, error) {
	switch files := doc.Policy.Files; {
	case candidate != "":
		return h.Load(candidate)
	case len(files) > 0:
		var list []epu.PolicyFile
		for _, f := range files {
			list = append(list, epu.PolicyFile{Path: f.Path, Text: f.Text})
		}
		return policies.Compile(doc.Policy.Name, []byte(files[0].Text), source.FS(list))
	}
	return h.Load(doc.Policy.Name)
}

// repl runs the session.
func repl(ctx context.Context, h Host, doc snapshot.Document, p *policies.Policy, v variant) error {
	seen, err := doc.Seen.Snapshot()
	if err != nil {
		return err
	}
	conf, err := v.of(p, doc.Conf)
	if err != nil {
		return err
	}
	s := &session{Host: h, doc: doc, p: p, first: seen, firstConf: conf}
	s.console = policies.NewConsole(p, policies.Options{
		Deadline: lineTime, Now: h.Env.Now, Print: func(line string) { s.say("%s", line) },
	}, seen, conf)
	defer s.console.Close()
	if h.Env.StdinTTY {
		s.say("%s as its policy %s %s; .help says what can be done, .quit ends", s.about(), p.Name, p.Hash[:4])
	}
	return s.run(ctx)
}

// session is one run of a console.
type session struct {
	Host
	doc       snapshot.Document
	p         *policies.Policy
	console   *policies.Console
	first     *policies.Snapshot
	firstConf map[string]any
	given     map[string]epu.Reading // by .sensor, since the beginning
	failed    int
}

func (s *session) about() string {
	what := "sees pool " + string(s.doc.Pool)
	if r := s.doc.Seen.Record; r != nil {
		return what + " at the decision " + string(r.ID) + ", as far as it was recorded,"
	}
	return what + " at " + s.first.Now.In(s.Env.Zone).Format(time.DateTime)
}

func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.IO.Out, format+"\n", args...)
}

// fault reports what went wrong with a line.
func (s *session) fault(err error) {
	s.failed++
	fmt.Fprintf(s.IO.Err, "error: %s\n", err.Error())
	if try := epu.TryOf(err); try != "" {
		fmt.Fprintf(s.IO.Err, "  try: %s\n", try)
	}
}

func (s *session) prompt(text string) {
	if s.Env.StdinTTY {
		fmt.Fprint(s.IO.Out, text)
	}
}

// run reads lines until there are none. One that is not complete goes on in the next; an empty one gives it up.
func (s *session) run(ctx context.Context) error {
	in := bufio.NewScanner(s.IO.In)
	in.Buffer(make([]byte, 0, 4096), lineBytesMax)
	before := ""
	for s.prompt("> "); ctx.Err() == nil && in.Scan(); {
		line := in.Text()
		switch text := strings.TrimSpace(line); {
		case before == "" && text == "":
		case before == "" && (text == ".quit" || text == ".exit"):
			return s.end()
		case before == "" && strings.HasPrefix(text, "."):
			if err := s.order(text); err != nil {
				s.fault(err)
			}
		case before == "" && (text == "decide()" || text == "decide"):
			s.decide()
		default:
			before = s.line(before, line, text == "")
		}
		if before != "" {
			s.prompt(". ")
		} else {
			s.prompt("> ")
		}
	}
	if before != "" {
		s.fault(errors.New("the last line is not complete"))
	}
	if err := in.Err(); err != nil {
		return epu.E(epu.Invalid, "read", "the lines", err)
	}
	s.prompt("\n")
	return s.end()
}

func (s *session) end() error {
	if s.failed > 0 && !s.Env.StdinTTY {
		return cli.Exit{Code: cli.CodeFailed}
	}
	return nil
}

// line runs a line with those before it, and gives what goes on in the next.
func (s *session) line(before, line string, giveUp bool) (rest string) {
	text := before + line
	answer, err := s.console.Run(text)
	switch {
	case errors.Is(err, policies.ErrMore) && !giveUp:
		return text + "\n"
	case errors.Is(err, policies.ErrMore):
		s.fault(errors.New("the line is not complete"))
	case err != nil:
		s.fault(err)
	default:
		if len(answer.Values) > 0 {
			s.say("%s", strings.Join(answer.Values, "   "))
		}
		if answer.Wish != nil {
			s.wish(*answer.Wish)
		}
	}
	return ""
}

// decide shows what the policy decides on what lines see.
func (s *session) decide() {
	d, err := s.console.Decide()
	switch {
	case err != nil:
		s.fault(err)
	case d.Error != "":
		s.fault(errors.New(d.Error))
	default:
		s.wish(d)
		if d.MemoryAfter != nil && !bytes.Equal(d.MemoryAfter, d.MemoryBefore) {
			s.say("  memory  %s", params.Clip(string(d.MemoryAfter), memoryShown))
		}
	}
}

// wish shows what was asked for, and why.
func (s *session) wish(d epu.Decision) {
	s.say("wants %s", plural(d.Wanted.Target, "instance"))
	for _, text := range decision.Reasons(d.Reasons) {
		s.say("  %s", text)
	}
	for _, a := range d.Actions {
		text := string(a.Kind)
		if a.Kind == epu.ActLaunch {
			text += " " + plural(max(a.Count, 1), "worker")
		}
		for _, w := range a.Workers {
			text += " " + string(w)
		}
		s.say("  once    %s", text)
	}
	for _, a := range d.Alerts {
		s.say("  alert   %s", a)
	}
}
