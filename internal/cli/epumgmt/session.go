package epumgmt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/relay"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// session is one run of the program.
type session struct {
	env     cli.Env
	io      cli.IO
	out     cli.Settings
	print   *cli.Printer
	node    string        // --node
	config  string        // --config
	profile string        // --profile
	timeout time.Duration // --request-timeout; 0 until the settings are read
	client  *relay.Client // nil until the first question
	pools   []string      // the pools this run is about, for suggestions
}

func (s *session) flags(f *pflag.FlagSet) {
	f.StringVar(&s.node, "node", "", "`ADDR` of the node to ask: host:port or unix:PATH")
	f.StringVar(&s.config, "config", "", "configuration `FILE` of this program")
	f.StringVar(&s.profile, "profile", "", "`NAME` of a profile in that file")
	f.DurationVar(&s.timeout, "request-timeout", 0, "wait this `TIME` for each answer instead of the configured one")
	f.StringVarP((*string)(&s.out.Form), "output", "o", string(cli.FormTable), "output `FORM`: "+strings.Join(cli.Forms(), ", "))
	f.BoolVarP(&s.out.Quiet, "quiet", "q", false, "no hints, notes and progress")
	f.BoolVar(&s.out.NoHeaders, "no-headers", false, "tables without header and hints")
	f.StringSliceVar(&s.out.Columns, "columns", nil, "`COLUMNS` of the table, in this order")
	f.StringVar(&s.out.Color, "color", cli.ColorAuto, "`WHEN` to colour: auto, always, never")
}

// start makes the printer once the flags are known.
func (s *session) start() error {
	s.print = cli.NewPrinter(s.out, s.io, s.env)
	if err := s.out.Check(); err != nil {
		return err
	}
	if s.timeout < 0 {
		return cli.Usage("--request-timeout 30s", "--request-timeout must not be negative: %v", s.timeout)
	}
	return nil
}

func (s *session) close() {
	if s.client != nil {
		_ = s.client.Close()
	}
}

// printError prints in the form that was asked for, even when the flags were never understood.
func (s *session) printError(err error, args []string) {
	form := s.out.Form
	if s.print == nil {
		form = wantedForm(args)
	}
	cli.PrintError(s.io.Err, err, form, cli.ColorFor(s.out.Color, s.env.Getenv, s.env.StderrTTY))
}

// wantedForm finds -o in arguments that could not be parsed.
func wantedForm(args []string) cli.Form {
	for i, a := range args {
		for _, flag := range []string{"--output=", "-o=", "-o"} {
			if v, ok := strings.CutPrefix(a, flag); ok && slices.Contains(cli.Forms(), v) {
				return cli.Form(v)
			}
		}
		if (a == "-o" || a == "--output") && i+1 < len(args) {
			return cli.Form(args[i+1])
		}
	}
	return cli.FormTable
}

func (s *session) target() (cli.Target, error) {
	return cli.Finder{Env: s.env, Node: s.node, File: s.config, Profile: s.profile}.Find()
}

// connect makes the client on first use.
func (s *session) connect() (*relay.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	t, err := s.target()
	if err != nil {
		return nil, err
	}
	tls, err := t.TLS.Config()
	if err != nil {
		return nil, err
	}
	if s.timeout == 0 {
		s.timeout = t.Timeout
	}
	s.client, err = relay.Dial(t.Address, relay.ClientOptions{
		TLS: tls, User: t.User, Client: "epumgmt " + s.env.Version, NewID: s.env.NewID,
	})
	return s.client, err
}

// ask sends one message and waits for its answer.
func ask[T proto.Message](ctx context.Context, s *session, body proto.Message) (T, error) {
	c, err := s.connect()
	if err != nil {
		var none T
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return relay.Ask[T](ctx, c, body)
}

// command asks for a change and prints what became of it.
func (s *session) command(ctx context.Context, body proto.Message, hints ...cli.Line) error {
	done, err := ask[*msg.Done](ctx, s, body)
	if err != nil {
		return err
	}
	return s.done(done, hints...)
}

// done prints the answer to a command. What is left makes it something to act on.
func (s *session) done(d *msg.Done, hints ...cli.Line) error {
	text := d.GetText()
	if text == "" {
		text = "done"
	}
	if !d.GetChanged() {
		text += " (nothing changed)"
	}
	lines := []cli.Line{cli.L("%s", text)}
	for _, l := range d.GetLeft() {
		lines = append(lines, cli.Line{{Text: "  left: ", Tone: cli.Warn}, cli.Text(l)})
	}
	if s.out.Quiet && len(d.GetLeft()) == 0 && s.out.Form == cli.FormTable {
		return nil
	}
	if err := s.print.Print(cli.View{Type: cli.TypeOf(d), Data: d, Lines: lines, Hints: hints}); err != nil {
		return err
	}
	if len(d.GetLeft()) > 0 {
		return cli.Exit{Code: cli.CodeAct}
	}
	return nil
}

// show asks a question once, or watches it, and prints what view makes of each answer.
func show[T proto.Message](ctx context.Context, s *session, watch bool, question proto.Message, view func(T) (cli.View, error)) error {
	if !watch {
		answer, err := ask[T](ctx, s, question)
		if err != nil {
			return err
		}
		v, err := view(answer)
		if err != nil {
			return err
		}
		return s.print.Print(v)
	}
	w, err := cli.NewWatcher(s.print, s.env.StdoutTTY)
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	for answer, err := range relay.Watch[T](ctx, c, question) {
		if err != nil {
			return err
		}
		v, err := view(answer)
		if err != nil {
			return err
		}
		if err := w.Show(v); err != nil {
			return err
		}
	}
	return nil
}

// poolNames asks which pools there are, for a suggestion or completion; silence when nobody answers.
func (s *session) poolNames(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, s.env.Guess)
	defer cancel()
	c, err := s.connect()
	if err != nil {
		return nil
	}
	st, err := relay.Ask[*msg.Status](ctx, c, &msg.StatusQuery{})
	if err != nil {
		return nil
	}
	var names []string
	for _, p := range st.GetPools() {
		names = append(names, p.GetName())
	}
	return names
}

// pool notes that a run is about a pool and checks its name before anything is sent.
func (s *session) pool(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/ \t\n") || strings.HasPrefix(name, "-") {
		return "", cli.Usage("epumgmt status", "%q can't be a pool's name", name)
	}
	s.pools = append(s.pools, name)
	return name, nil
}

// meant adds the pool that was probably meant to an error about one that does not exist.
func (s *session) meant(err error) error {
	if err == nil || epu.KindOf(err) != epu.NotFound || len(s.pools) == 0 || s.client == nil {
		return err
	}
	known := s.poolNames(context.Background())
	for _, p := range s.pools {
		if slices.Contains(known, p) {
			continue
		}
		if c := strictyaml.Closest(p, known); c != "" {
			var e *epu.Error
			if errors.As(err, &e) {
				better := *e
				better.Try = "did you mean: " + c
				return &better
			}
		}
	}
	return err
}

// completePools completes names of pools in the first n places (n < 0: all), and is silent on failure.
func (s *session) completePools(n int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if n >= 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, p := range s.poolNames(cmd.Context()) {
			if strings.HasPrefix(p, start) && !slices.Contains(args, p) {
				names = append(names, p)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeWorkers completes the ID of one worker, and is silent on failure.
func (s *session) completeWorkers(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), s.env.Guess)
	defer cancel()
	c, err := s.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := relay.Ask[*msg.Instances](ctx, c, &msg.InstancesQuery{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, i := range list.GetInstances() {
		if strings.HasPrefix(i.GetWorker(), start) {
			ids = append(ids, i.GetWorker())
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// path makes a file's name absolute, in the folder the program was started in.
func (s *session) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.env.Dir, name)
}

// plural counts things.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
