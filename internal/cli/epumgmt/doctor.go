package epumgmt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// The results of a check, as the wire has them.
const (
	resultOK      = "ok"
	resultWarning = "warning"
	resultFailure = "failure"
	resultSkipped = "skipped"
)

func doctorCommand(s *session) *cobra.Command {
	var ignore []string
	c := &cobra.Command{
		Use: "doctor", Short: "Check this program, the way to the node, and the node", Args: cli.Takes(0, 0),
		Long: `Check what can be checked and say what to do about what is wrong. It works when the node is down: then
it checks what it can from here. The exit code is 0 when all is well, 3 for warnings, 1 for failures.`,
		Example: "epumgmt doctor\nepumgmt doctor --ignore clock-skew -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &msg.Doctor{Checks: s.diagnose(cmd.Context())}
			if err := knownCodes(ignore, d.GetChecks()); err != nil {
				return err
			}
			result := settle(d.GetChecks(), ignore)
			if err := s.print.Print(cli.View{Type: cli.TypeOf(d), Data: d, Lines: checkLines(d.GetChecks(), "")}); err != nil {
				return err
			}
			switch result {
			case resultFailure:
				return cli.Exit{Code: cli.CodeFailed}
			case resultWarning:
				return cli.Exit{Code: cli.CodeAct}
			}
			return nil
		},
	}
	c.Flags().StringSliceVar(&ignore, "ignore", nil, "`CODES` of warnings that are known and accepted")
	return c
}

// knownCodes refuses a code that nothing has: whoever misspells one would silence nothing. What a newer
// node answers counts too.
func knownCodes(ignore []string, checks []*msg.Check) error {
	codes := []string{"client", "config", "config-problem", "node", "connect", "relay", "version-skew", "inside"}
	for _, c := range msg.AlertCodes() {
		codes = append(codes, string(c))
	}
	var collect func([]*msg.Check)
	collect = func(list []*msg.Check) {
		for _, c := range list {
			codes = append(codes, c.GetCode())
			collect(c.GetChildren())
		}
	}
	collect(checks)
	for _, code := range ignore {
		if slices.Contains(codes, code) {
			continue
		}
		try := "epumgmt doctor shows the codes of its warnings"
		if c := strictyaml.Closest(code, codes); c != "" {
			try = "did you mean: --ignore " + c
		}
		return cli.Usage(try, "no check has the code %q", code)
	}
	return nil
}

// diagnose checks from here to there: configuration, address, connection, and what the node finds.
func (s *session) diagnose(ctx context.Context) []*msg.Check {
	t, err := s.target()
	config := &msg.Check{Code: "config", Name: "configuration", Result: resultOK, Text: "none; the node is " + t.Address + " by " + t.Origin}
	if t.Config != "" {
		config.Text = t.Config + "; the node is " + t.Address + " by " + t.Origin
	}
	client := &msg.Check{Code: "client", Name: "client", Text: "epumgmt " + s.env.Version, Children: []*msg.Check{config}}
	node := &msg.Check{Code: "node", Name: "node", Text: t.Address}
	if err == nil {
		_, err = t.TLS.Config()
	}
	if err != nil {
		fail(config, err)
		node.Result, node.Text = resultSkipped, "the configuration comes first"
		return []*msg.Check{client, node}
	}
	node.Children = s.reach(ctx, t)
	return []*msg.Check{client, node}
}

func fail(c *msg.Check, err error) {
	c.Result, c.Text, c.Try = resultFailure, err.Error(), epu.TryOf(err)
	var bad *strictyaml.Error
	if !errors.As(err, &bad) {
		return
	}
	c.Text = plural(len(bad.Problems), "problem")
	for _, p := range bad.Problems {
		text := strings.TrimPrefix(p.Key+": "+p.Text, ": ")
		c.Children = append(c.Children, &msg.Check{Code: "config-problem", Name: p.Where(), Result: resultFailure, Text: text, Try: p.Try})
	}
}

// reach checks the way to the node step by step, so that the first step that fails names the cause.
func (s *session) reach(ctx context.Context, t cli.Target) []*msg.Check {
	connect := &msg.Check{Code: "connect", Name: "connection", Result: resultOK, Text: "somebody listens at " + t.Address}
	if err := dialOnce(ctx, t.Address); err != nil {
		connect.Result, connect.Text = resultFailure, fmt.Sprintf("%s (by %s): %v", t.Address, t.Origin, err)
		connect.Try = "start a node with: epud dev   or name another with: --node HOST:PORT"
		if strings.HasSuffix(t.Origin, "node") && strings.Contains(t.Origin, ".epu") {
			connect.Try = "the node that wrote " + t.Origin + " has ended: start epud dev there again, or remove that file"
		}
		return []*msg.Check{connect, {Code: "relay", Name: "relay", Result: resultSkipped, Text: "nothing to talk to"}}
	}
	relayed := &msg.Check{Code: "relay", Name: "relay", Result: resultOK}
	v, err := ask[*msg.Version](ctx, s, &msg.VersionQuery{})
	if err != nil {
		fail(relayed, err)
		return []*msg.Check{connect, relayed}
	}
	relayed.Text = "a node of version " + v.GetVersion() + " answers"
	checks := []*msg.Check{connect, relayed}
	if v.GetVersion() != s.env.Version {
		checks = append(checks, &msg.Check{
			Code: "version-skew", Name: "versions", Result: resultWarning,
			Text: fmt.Sprintf("this program is %s, the node is %s", s.env.Version, v.GetVersion()), Try: "use the epumgmt that came with the node",
		})
	}
	d, err := ask[*msg.Doctor](ctx, s, &msg.DoctorQuery{})
	if err != nil {
		inside := &msg.Check{Code: "inside", Name: "inside"}
		fail(inside, err)
		return append(checks, inside)
	}
	return append(checks, d.GetChecks()...)
}

// dialOnce says what the operating system says, before TLS and gRPC have their say.
func dialOnce(ctx context.Context, address string) error {
	const connectTimeout = 3 * time.Second
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	d := net.Dialer{Timeout: connectTimeout}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return errors.New(strings.TrimPrefix(err.Error(), "connect: "))
	}
	return conn.Close()
}

// settle applies --ignore and lets the worst child's result bubble up. It gives the worst of all.
func settle(checks []*msg.Check, ignore []string) string {
	worst := ""
	for _, c := range checks {
		if c.GetResult() == resultWarning && slices.Contains(ignore, c.GetCode()) {
			c.Result, c.Text = resultSkipped, "ignored: "+c.GetText()
		}
		below := settle(c.GetChildren(), ignore)
		if severity(below) > severity(c.GetResult()) {
			c.Result = below
		}
		if c.GetResult() == "" {
			c.Result = resultOK
		}
		if severity(c.GetResult()) > severity(worst) {
			worst = c.GetResult()
		}
	}
	return worst
}

func severity(result string) int {
	return slices.Index([]string{"", resultSkipped, resultOK, resultWarning, resultFailure}, result)
}

func checkLines(checks []*msg.Check, indent string) []cli.Line {
	var lines []cli.Line
	for _, c := range checks {
		tone := map[string]cli.Tone{resultOK: cli.Good, resultWarning: cli.Warn, resultFailure: cli.Bad}[c.GetResult()]
		if c.GetResult() == resultSkipped {
			tone = cli.Dim
		}
		name := indent + c.GetName()
		lines = append(lines, cli.Line{{Text: fmt.Sprintf("%-8s", c.GetResult()), Tone: tone}, cli.Text(fmt.Sprintf(" %-22s %s", name, c.GetText()))})
		if c.GetTry() != "" && (c.GetResult() == resultWarning || c.GetResult() == resultFailure) {
			code := ""
			if c.GetResult() == resultWarning {
				code = "   (or --ignore " + c.GetCode() + ")"
			}
			lines = append(lines, cli.L("%-8s   %s  try: %s%s", "", indent, c.GetTry(), code))
		}
		lines = append(lines, checkLines(c.GetChildren(), indent+"  ")...)
	}
	return lines
}

// versions is the answer of version in machine output.
type versions struct {
	Client program `json:"client"`
	Node   *remote `json:"node"` // null when no node answers
}

type program struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

type remote struct {
	Address string `json:"address"`
	program
}

func versionCommand(s *session) *cobra.Command {
	var local bool
	c := &cobra.Command{
		Use: "version", Short: "Show the versions of this program and of the node", Args: cli.Takes(0, 0),
		Long:    `Show the version of this program, and of the node if one answers at once.`,
		Example: "epumgmt version\nepumgmt version --client -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Client: program{Version: s.env.Version, Commit: s.env.Commit, Go: runtime.Version()}}
			lines := []cli.Line{cli.L("epumgmt  %s", v.Client)}
			if !local {
				node, err := s.remoteVersion(cmd.Context())
				v.Node = node
				if err != nil {
					lines = append(lines, cli.L("node     %v", err))
				} else {
					lines = append(lines, cli.L("node     %s at %s", node.program, node.Address))
				}
			}
			return s.print.Print(cli.View{Type: "version", Data: v, Lines: lines})
		},
	}
	c.Flags().BoolVar(&local, "client", false, "do not ask a node")
	return c
}

// String is a version in one line.
func (p program) String() string {
	text := p.Version
	if p.Commit != "" {
		text += " commit " + p.Commit[:min(12, len(p.Commit))]
	}
	return text + " " + p.Go
}

func (s *session) remoteVersion(ctx context.Context) (*remote, error) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, max(patience, s.env.Guess))
	defer cancel()
	v, err := ask[*msg.Version](ctx, s, &msg.VersionQuery{})
	if err != nil {
		return nil, err
	}
	return &remote{Address: s.client.Target(), program: program{Version: v.GetVersion(), Commit: v.GetCommit(), Go: v.GetGo()}}, nil
}
