package epumgmt

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/policy"
	"github.com/nimbus-epu/epu/internal/cli/question"
	"github.com/nimbus-epu/epu/internal/cli/sensor"
	"github.com/nimbus-epu/epu/policies"
)

// Main runs the program with its arguments (without its name) and gives the exit code. The context
// ends with Ctrl-C.
func Main(ctx context.Context, args []string, streams cli.IO, env cli.Env) (code int) {
	s := &session{env: env, io: streams, out: cli.Settings{Form: cli.FormTable}}
	defer s.close()
	defer func() {
		if r := recover(); r != nil {
			err := &epu.Error{Op: "run", On: "epumgmt " + strings.Join(args, " "), Err: fmt.Errorf("a fault in this program: %v", r), Try: "report it with the lines below"}
			s.printError(err, args)
			fmt.Fprintf(streams.Err, "%s\n", debug.Stack())
			code = cli.CodeFailed
		}
	}()
	root := New(s)
	if env.StdoutTTY {
		cli.FitHelp(root, env.Width)
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && err != nil {
		return cli.CodeInterrupted
	}
	err = s.meant(err)
	s.printError(err, args)
	return cli.CodeOf(err)
}

// Root is the tree of commands without a session behind it, for what only describes it.
func Root() *cobra.Command {
	return New(&session{env: cli.Env{Getenv: func(string) string { return "" }}, out: cli.Settings{}})
}

// New builds the tree of commands.
func New(s *session) *cobra.Command {
	root := &cobra.Command{
		Use:   "epumgmt",
		Short: "Look after pools of workers",
		Long: `epumgmt asks a node about its pools and tells it what to change. Any node answers any question.

The node is found by --node, EPU_NODE, the key node of the configuration file (--config, EPU_CONFIG,
~/.config/epu/config.yaml or /etc/epu/config.yaml), the file .epu/node in this folder or one above, which
epud dev writes, and is 127.0.0.1:7420 otherwise.`,
		Example:           "  epumgmt status\n  epumgmt explain epu-web",
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.ArbitraryArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return s.start() },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return cli.UnknownCommand(cmd, args[0])
		},
	}
	root.SetIn(s.io.In)
	root.SetOut(s.io.Out)
	root.SetErr(s.io.Err)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(cli.FlagError)
	s.flags(root.PersistentFlags())
	root.AddGroup(
		&cobra.Group{ID: groupAsk, Title: "Look:"},
		&cobra.Group{ID: groupChange, Title: "Change:"},
		&cobra.Group{ID: groupWorker, Title: "One worker:"},
		&cobra.Group{ID: groupEnd, Title: "End and recover:"},
		&cobra.Group{ID: groupWrite, Title: "Write policies:"},
		&cobra.Group{ID: groupSelf, Title: "This program:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		groupAsk: {
			statusCommand(s), instancesCommand(s), explainCommand(s), question.WhatIf(questionHost(s)), decisionsCommand(s), eventsCommand(s),
			alertsCommand(s), sensorCommand(s), waitCommand(s), doctorCommand(s),
		},
		groupChange: {
			planCommand(s), applyCommand(s), scaleCommand(s), reconfigureCommand(s), freezeCommand(s), thawCommand(s), enableCommand(s),
		},
		groupWorker: append(workerCommands(s), killCommand(s)),
		groupEnd: {
			removeCommand(s), terminateAllCommand(s), adoptCommand(s), sweepCommand(s), endRecoveryCommand(s),
		},
		groupWrite: {policyCommand(s)},
		groupSelf:  {versionCommand(s), completionCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			c.Example = "  " + strings.ReplaceAll(c.Example, "\n", "\n  ") // as help indents everything else
			root.AddCommand(c)
		}
	}
	root.SetHelpCommand(helpCommand(root))
	root.SetHelpCommandGroupID(groupSelf)
	addOldNames(s, root)
	return root
}

const (
	groupAsk    = "ask"
	groupChange = "change"
	groupWorker = "worker"
	groupEnd    = "end"
	groupWrite  = "write"
	groupSelf   = "self"
)

// sensorCommand lets the group of sensors ask this session's node.
func sensorCommand(s *session) *cobra.Command {
	return sensor.Command(sensor.Host{
		Env: &s.env, Pool: s.pool, Pools: s.completePools,
		Show: func(ctx context.Context, watch bool, q *msg.SensorsQuery, view func(*msg.Sensors) (cli.View, error)) error {
			return show(ctx, s, watch, q, view)
		},
		Push: func(ctx context.Context, m *msg.SensorPush) error { return s.command(ctx, m) },
	})
}

// questionHost lets the commands that ask what would be ask this session's node.
func questionHost(s *session) question.Host {
	return question.Host{
		Env: &s.env, IO: &s.io, Print: func() *cli.Printer { return s.print }, Pool: s.pool, Pools: s.completePools,
		Ask: func(ctx context.Context, m proto.Message) (proto.Message, error) {
			return ask[proto.Message](ctx, s, m)
		},
		Order: func(ctx context.Context, m proto.Message, hints ...cli.Line) error {
			return s.command(ctx, m, hints...)
		},
		Load: func(arg string) (*policies.Policy, error) {
			return policy.Load(policy.Host{Env: &s.env, IO: &s.io, Print: func() *cli.Printer { return s.print }}, arg)
		},
	}
}

// policyCommand lets the group of policies ask this session's node.
func policyCommand(s *session) *cobra.Command {
	return policy.Command(policy.Host{
		Env: &s.env, IO: &s.io, Print: func() *cli.Printer { return s.print },
		Ask: func(ctx context.Context, m proto.Message) (proto.Message, error) {
			return ask[proto.Message](ctx, s, m)
		},
		More: func(load func(string) (*policies.Policy, error)) []*cobra.Command {
			h := questionHost(s)
			h.Load = load
			return question.PolicyCommands(h)
		},
	})
}

// addOldNames keeps the words of the program this one replaces: they work and name the new word.
func addOldNames(s *session, root *cobra.Command) {
	for _, old := range []struct {
		name    string
		command func(*session) *cobra.Command
	}{
		{"find-workers", instancesCommand},
		{"find-versions", versionCommand},
		{"reconfigure-n", scaleCommand},
		{"killrun", terminateAllCommand},
		{"update-events", eventsCommand},
	} {
		c := old.command(s)
		now, rest, _ := strings.Cut(c.Use, " ")
		c.Use, c.Hidden, c.Aliases = strings.TrimSpace(old.name+" "+rest), true, nil
		run := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			s.print.Note("note: %s is now called %s", old.name, now)
			return run(cmd, args)
		}
		root.AddCommand(c)
	}
}

func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show what a command does", GroupID: groupSelf, Args: cli.Takes(0, 1),
		Example: "  epumgmt help scale",
		ValidArgsFunction: func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range root.Commands() {
				if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), start) {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return root.Help()
			}
			for _, c := range root.Commands() {
				if c.Name() == args[0] || slices.Contains(c.Aliases, args[0]) {
					c.InitDefaultHelpFlag()
					return c.Help()
				}
			}
			return cli.UnknownCommand(root, args[0])
		},
	}
}

func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion " + strings.Join(shells, "|"), Short: "Print a shell's completion script", Args: cli.Takes(1, 1),
		Long: `Print the script that lets a shell complete commands, flags and the names of the pools there are.

For bash, with the package bash-completion: epumgmt completion bash > /etc/bash_completion.d/epumgmt`,
		Example:   "epumgmt completion bash",
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			}
			return cli.Usage("epumgmt completion "+strings.Join(shells, "|"), "unknown shell %q", args[0])
		},
	}
}

// errInterrupted is what waiting gives when the user has had enough.
var errInterrupted = errors.New("interrupted")

// pause waits, or ends with the context.
func (s *session) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-s.env.After(d):
		return nil
	case <-ctx.Done():
		return errInterrupted
	}
}
