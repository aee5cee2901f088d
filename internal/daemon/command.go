package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas/local"
	"github.com/nimbus-epu/epu/internal/agent"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/reference"
	"github.com/nimbus-epu/epu/internal/config"
)

// AgentCommand is the first argument with which a local site starts this binary as an instance's agent.
const AgentCommand = "agent"

// program is one run of epud's command line.
type program struct {
	environ []string
	streams cli.IO
	env     cli.Env
	form    cli.Form
}

// Main runs epud with its arguments (without its name) and gives the exit code.
func Main(ctx context.Context, args, environ []string, streams cli.IO, env cli.Env) (code int) {
	if len(args) > 0 { // the local site starts this binary again: as the keeper of an instance, and as its agent
		switch args[0] {
		case local.KeeperCommand:
			return local.KeeperMain(args[1:])
		case AgentCommand:
			return agent.Main(args[1:], environ, streams.In, streams.Out, streams.Err)
		}
	}
	p := &program{environ: environ, streams: streams, env: env, form: cli.FormTable}
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(streams.Err, "error: epud failed: %v\n%s", r, debug.Stack())
			code = cli.CodeFailed
		}
	}()
	root := p.root()
	if env.StdoutTTY {
		cli.FitHelp(root, env.Width)
	}
	root.SetArgs(args)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := advise(root.ExecuteContext(ctx))
	cli.PrintError(streams.Err, err, p.form, cli.ColorFor("auto", env.Getenv, env.StderrTTY))
	return cli.CodeOf(err)
}

// advise says what to do about an error that does not say it itself. What epumgmt would advise is no help
// to those who start a node.
func advise(err error) error {
	if err == nil || epu.TryOf(err) != "" {
		return err
	}
	var try string
	switch cli.CodeOf(err) {
	case cli.CodeUnreachable:
		try = "let the user that epud runs as write there, or name another place (epud config show --origin)"
	case cli.CodeNotFound:
		try = "name something that is there"
	case cli.CodeConflict:
		try = "stop what is in the way, then repeat the command"
	case cli.CodeFailed:
		try = "look at the lines above; epud validate checks the settings, epud journal check the store"
	default:
		return err
	}
	return &epu.Error{Kind: epu.KindOf(err), Err: err, Try: try}
}

// Root is the tree of commands without surroundings, for what only describes it.
func Root() *cobra.Command {
	return (&program{env: cli.Env{Getenv: func(string) string { return "" }}}).root()
}

func (p *program) root() *cobra.Command {
	root := cli.Parent(&cobra.Command{
		Use:   "epud",
		Short: "Keep pools of workers alive",
		Long: `epud is EPU's node daemon: it keeps the pools that were applied to it at the size their policies want,
replaces workers that fail, and can say why it does what it does. Operators talk to it with epumgmt.`,
		Example:           "  epud dev\n  epud run -c /etc/epu/epud.yaml",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	})
	root.SetFlagErrorFunc(cli.FlagError)
	root.AddCommand(p.runCommand(), p.devCommand(), p.validateCommand(), p.configCommand(), p.journalCommand(), p.versionCommand())
	return root
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return cli.Usage(c.CommandPath()+" --help", "%s takes no argument, and got %q", c.CommandPath(), args[0])
	}
	return nil
}

func (p *program) runCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "run", Short: "Run a node with its settings", Args: noArgs,
		Long: `Run a node until SIGTERM or Ctrl-C. Workers of local sites live on, and a node that starts again with the
same data folder finds them. While another process has the folder open, as one that was just killed may for a moment, the
start waits up to 3 seconds. SIGHUP opens the file of events.file anew, after it was moved; settings are read at a
start only.`,
		Example: "  epud run -c /etc/epu/epud.yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := p.load(c, false)
			if err != nil {
				return err
			}
			return p.serve(c.Context(), conf, false, nil)
		},
	}
	settingsFlags(c)
	return c
}

// settingsPage describes every setting; the reference of commands leads there.
const settingsPage = "epud-config.md"

// settingsFlags gives a command a flag for each setting.
func settingsFlags(c *cobra.Command) {
	own := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	config.AddNodeFlags(own)
	own.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" {
			f.Annotations = map[string][]string{reference.Settings: {settingsPage}}
		}
	})
	c.Flags().AddFlagSet(own)
}

func (p *program) load(c *cobra.Command, dev bool) (config.Node, error) {
	conf, _, err := config.LoadNode(p.nodeOptions(c, dev))
	return conf, err
}

func (p *program) nodeOptions(c *cobra.Command, dev bool) config.NodeOptions {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return config.NodeOptions{Dev: dev, Flags: c.Flags(), Environ: p.environ, Hostname: host}
}

// serve runs a node until it is told to stop. up is called once it answers.
func (p *program) serve(ctx context.Context, conf config.Node, dev bool, up func(context.Context, *Node) error) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	node, err := NewPatiently(ctx, Options{
		Conf: conf, Dev: dev, Clock: actors.WallClock{}, Getenv: p.env.Getenv, Log: p.logger(conf.Log),
		Version: p.version(),
	}, p.streams.Err)
	if err != nil {
		return err
	}
	if err := node.Start(ctx); err != nil {
		return errors.Join(err, node.Close(context.WithoutCancel(ctx)))
	}
	if up != nil {
		err = up(ctx, node)
	}
	if err == nil {
		select {
		case <-ctx.Done():
			node.log.Info("epud was told to stop")
		case err = <-node.Failed():
		}
	}
	stop() // a second signal ends the program at once
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), conf.ShutdownTimeout)
	defer cancel()
	return errors.Join(err, node.Stop(bye))
}

func (p *program) logger(conf config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(conf.Level)); err != nil {
		level = slog.LevelInfo // the settings were checked
	}
	opts := &slog.HandlerOptions{Level: level}
	if conf.Format == "json" || conf.Format == "auto" && !p.env.StderrTTY {
		return slog.New(slog.NewJSONHandler(p.streams.Err, opts))
	}
	return slog.New(slog.NewTextHandler(p.streams.Err, opts))
}

func (p *program) version() *msg.Version {
	return &msg.Version{Version: p.env.Version, Commit: p.env.Commit, Go: runtime.Version()}
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs, Example: "  epud version",
		RunE: func(*cobra.Command, []string) error {
			v := p.version()
			_, err := fmt.Fprintf(p.streams.Out, "epud %s (%s, %s)\n", v.GetVersion(), orDash(v.GetCommit()), v.GetGo())
			return err
		},
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (p *program) configCommand() *cobra.Command {
	parent := cli.Parent(&cobra.Command{Use: "config", Short: "Look at a node's settings", Example: "  epud config show --origin"})
	var origin bool
	show := &cobra.Command{
		Use: "show", Short: "Print the settings that a node would run with", Args: noArgs,
		Long: `Print every setting with the value that epud run would use. With --origin each says whether that is the
default, or which line of the file, environment variable or flag it comes from.`,
		Example: "  epud config show --origin",
		RunE: func(c *cobra.Command, _ []string) error {
			_, origins, err := config.LoadNode(p.nodeOptions(c, false))
			for _, o := range origins {
				line := o.Key + ": " + o.Value
				if origin {
					line = fmt.Sprintf("%-40s # %s", line, strings.TrimSpace(string(o.Source)+" "+o.Where))
				}
				fmt.Fprintln(p.streams.Out, line)
			}
			return err
		},
	}
	show.Flags().BoolVar(&origin, "origin", false, "say where each value comes from")
	settingsFlags(show)
	parent.AddCommand(show)
	return parent
}

func (p *program) validateCommand() *cobra.Command {
	var folders []string
	c := &cobra.Command{
		Use: "validate", Short: "Check a node's settings and files of pools without starting anything", Args: noArgs,
		Long:    `Check the settings that epud run would use, and every pool, site and deployable type of the files given with -f.`,
		Example: "  epud validate -c epud.yaml -f pools",
		RunE: func(c *cobra.Command, _ []string) error {
			conf, _, err := config.LoadNode(p.nodeOptions(c, false))
			if err == nil {
				err = p.validateFiles(conf, folders)
			} else if len(folders) > 0 {
				err = errors.Join(err, p.validateFiles(config.Node{}, folders))
			}
			if err == nil {
				fmt.Fprintln(p.streams.Err, "no problems found")
			}
			return err
		},
	}
	c.Flags().StringArrayVarP(&folders, "file", "f", nil, "file or folder `PATH` of pools, sites and deployable types; may be repeated")
	settingsFlags(c)
	return c
}

// readFiles reads files, and the *.yaml files of folders.
func readFiles(paths []string) ([]*msg.File, error) {
	var out []*msg.File
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			ext := filepath.Ext(name)
			if d.IsDir() || name != path && ext != ".yaml" && ext != ".yml" {
				return nil
			}
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			out = append(out, &msg.File{Path: name, Content: content})
			return nil
		})
		if err != nil {
			return nil, cli.Usage("name a file or folder that can be read", "read %s: %w", path, cli.Reason(err))
		}
	}
	return out, nil
}
