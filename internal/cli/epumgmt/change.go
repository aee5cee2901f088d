package epumgmt

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/keyvalue"
)

func scaleCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "scale POOL N", Short: "Tell a pool how many workers to keep", Args: cli.Takes(2, 2),
		Long: `Tell a pool whose policy takes a number how many workers to keep. The number stays until it is changed
again; a later apply shows it as a difference.`,
		Example:           "epumgmt scale epu-web 5",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 0 || n > math.MaxInt32 {
				return cli.Usage("epumgmt scale "+pool+" 5", "%q is no number of workers", args[1])
			}
			return s.command(cmd.Context(), &msg.Scale{Pool: pool, N: int32(n)}, cli.L("Next: epumgmt wait %s --for converged", pool))
		},
	}
}

func reconfigureCommand(s *session) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "reconfigure POOL [KEY=VALUE...]", Short: "Change settings of a pool's policy", Args: cli.Takes(1, -1),
		Long: `Replace the values of the given top-level settings of a pool's policy and keep the others. Values are
YAML: numbers, true, [lists], {maps: x}; durations are text such as 5m. The policy checks all of them
before anything changes. Settings on the command line win over those of --file.`,
		Example:           "epumgmt reconfigure epu-web preserve_n=4\nepumgmt reconfigure epu-web --file conf.yaml step_up=2",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			conf, err := keyvalue.Parse(args[1:])
			if err != nil {
				return cli.Usage("epumgmt reconfigure "+pool+" preserve_n=4", "settings of %s: %w", pool, err)
			}
			if file != "" {
				base, err := s.settingsFile(file)
				if err != nil {
					return err
				}
				conf = keyvalue.Merge(base, conf)
			}
			if len(conf.GetFields()) == 0 {
				return cli.Usage("epumgmt reconfigure "+pool+" preserve_n=4", "no settings are given")
			}
			return s.command(cmd.Context(), &msg.Reconfigure{Pool: pool, Conf: conf}, cli.L("Next: epumgmt explain %s", pool))
		},
	}
	c.Flags().StringVar(&file, "file", "", "YAML `FILE` with a map of settings")
	return c
}

func (s *session) settingsFile(name string) (*structpb.Struct, error) {
	raw, err := os.ReadFile(s.path(name))
	if err != nil {
		return nil, readError(name, err)
	}
	conf, err := keyvalue.ParseFile(raw)
	if err != nil {
		return nil, cli.Usage("a file with lines such as preserve_n: 4", "%s: %w", name, err)
	}
	return conf, nil
}

// readError says why a file named on the command line can't be read.
func readError(name string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return cli.Usage("name a file that can be read", "read %s: %w", name, err)
}

func freezeCommand(s *session) *cobra.Command {
	var healing bool
	var span time.Duration
	var reason string
	c := &cobra.Command{
		Use: "freeze POOL", Short: "Stop a pool from launching and ending workers", Args: cli.Takes(1, 1),
		Long: `Stop launches, drains and terminations of a pool until it is thawed. Failed workers are not replaced
either, unless --healing is given.`,
		Example:           "epumgmt freeze epu-web --for 2h --reason migration\nepumgmt freeze epu-web --healing",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			m := &msg.FreezeCommand{Pool: pool, Healing: healing, Reason: reason}
			if cmd.Flags().Changed("for") {
				if span <= 0 {
					return cli.Usage("--for 2h", "--for must be positive, not %v", span)
				}
				m.For = durationpb.New(span)
			}
			return s.command(cmd.Context(), m, cli.L("Undo: epumgmt thaw %s", pool))
		},
	}
	c.Flags().BoolVar(&healing, "healing", false, "go on replacing failed workers")
	c.Flags().DurationVar(&span, "for", 0, "thaw by itself after this `TIME`, such as 2h")
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` that status shows to others")
	return c
}

func thawCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "thaw POOL", Short: "Let a frozen or failing pool act again", Args: cli.Takes(1, 1),
		Long: `Undo freeze: the pool acts on its newest wish again. A pool that waits after failed launches tries again at
once, frozen or not: give the command when what failed is mended.`,
		Example:           "epumgmt thaw epu-web",
		ValidArgsFunction: s.completePools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := s.pool(args[0])
			if err != nil {
				return err
			}
			return s.command(cmd.Context(), &msg.Thaw{Pool: pool}, cli.L("Next: epumgmt status %s", pool))
		},
	}
}

func enableCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "enable", Short: "Let pools launch again after terminate-all", Args: cli.Takes(0, 0),
		Long:    `Undo the switch that terminate-all turns off: pools grow again to what they want.`,
		Example: "epumgmt enable",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.command(cmd.Context(), &msg.Enable{}, cli.L("Next: epumgmt status -w"))
		},
	}
}

func killCommand(s *session) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "kill INSTANCE", Short: "End one worker; its pool replaces it", Args: cli.Takes(1, 1),
		Long: `End one worker at once, without draining. INSTANCE is the worker's ID or the cloud's ID of its machine,
as instances shows them. Its pool launches another one if it still wants as many; to have fewer, scale.`,
		Example:           "epumgmt kill epu-web-1-1/0 --reason 'disk is full'",
		ValidArgsFunction: s.completeWorkers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.onWorker(cmd, args[0], &msg.Kill{Instance: args[0], Reason: reason}, cli.L("Next: epumgmt instances"))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` for the record")
	return c
}

// order is a command about one worker.
type order struct {
	use, short, long, example string
	reason                    bool // it can be given one
	hint                      func(instance string) cli.Line
	body                      func(instance, reason string) proto.Message
}

// orders are the commands about one worker, but for its end.
func orders() []order {
	return []order{
		{
			use: "drain INSTANCE", short: "Take one worker out of service; it ends when its work is done", reason: true,
			long: `Take one worker out of service: its agent takes no new work, and it ends when it is idle, or when the
pool's drain.timeout is over and no busy lease keeps it. Its pool launches another one at once if it still
wants as many. A unique worker's name gets another when this one is gone. Where there is no agent to ask,
or the worker does not run yet, it ends at once.`,
			example: "epumgmt drain epu-web-1-1/0 --reason patching", hint: func(i string) cli.Line { return cli.L("Undo: epumgmt resume %s", i) },
			body: func(i, why string) proto.Message { return &msg.Drain{Instance: i, Reason: why} },
		},
		{
			use: "resume INSTANCE", short: "Put a draining worker back into service",
			long:    `Take back a drain, or a replacement, as long as the worker's end is not decided: its agent takes work again.`,
			example: "epumgmt resume epu-web-1-1/0", hint: func(string) cli.Line { return cli.L("Next: epumgmt instances") },
			body: func(i, _ string) proto.Message { return &msg.Resume{Instance: i} },
		},
		{
			use: "replace INSTANCE", short: "Launch another worker, then drain this one", reason: true,
			long: `Launch another worker first, and drain this one once that runs. Until then this one works on, also if
the new one fails or the node restarts. A unique worker's name belongs to one worker at a time: drain it
instead.`,
			example: "epumgmt replace epu-web-1-1/0 --reason slow-disk", hint: func(i string) cli.Line { return cli.L("Undo: epumgmt resume %s", i) },
			body: func(i, why string) proto.Message { return &msg.Replace{Instance: i, Reason: why} },
		},
		{
			use: "protect INSTANCE", short: "Keep one worker from being chosen as surplus", reason: true,
			long: `Keep one worker from being chosen when its pool shrinks, until unprotect. It is still replaced when it
fails, ends with remove and terminate-all, and does what drain, replace and kill say.`,
			example: "epumgmt protect epu-web-1-1/0 --reason debugging", hint: func(i string) cli.Line { return cli.L("Undo: epumgmt unprotect %s", i) },
			body: func(i, why string) proto.Message { return &msg.Protect{Instance: i, Reason: why} },
		},
		{
			use: "unprotect INSTANCE", short: "Let a protected worker be chosen as surplus again",
			long:    `Undo protect: when its pool shrinks, the worker may be chosen.`,
			example: "epumgmt unprotect epu-web-1-1/0", hint: func(string) cli.Line { return cli.L("Next: epumgmt instances") },
			body: func(i, _ string) proto.Message { return &msg.Unprotect{Instance: i} },
		},
	}
}

// workerCommands are the commands about one worker.
func workerCommands(s *session) []*cobra.Command {
	var out []*cobra.Command
	for _, o := range orders() {
		out = append(out, o.command(s))
	}
	return out
}

func (o order) command(s *session) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: o.use, Short: o.short, Args: cli.Takes(1, 1), Example: o.example,
		ValidArgsFunction: s.completeWorkers,
		Long:              o.long + "\n\nINSTANCE is the worker's ID or the cloud's ID of its machine, as instances shows them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.onWorker(cmd, args[0], o.body(args[0], reason), o.hint(args[0]))
		},
	}
	if o.reason {
		c.Flags().StringVar(&reason, "reason", "", "`TEXT` for the record")
	}
	return c
}

// onWorker gives an order about one worker.
func (s *session) onWorker(cmd *cobra.Command, instance string, body proto.Message, hint cli.Line) error {
	if instance == "" {
		return cli.Usage("epumgmt instances", "an empty name is no worker")
	}
	done, err := ask[*msg.Done](cmd.Context(), s, body)
	switch {
	case epu.KindOf(err) == epu.NotFound && epu.TryOf(err) == "":
		return &epu.Error{Kind: epu.NotFound, Err: err, Try: "epumgmt instances"}
	case err != nil:
		return err
	case !done.GetChanged(): // there is nothing to undo
		return s.done(done, cli.L("Next: epumgmt instances"))
	}
	return s.done(done, hint)
}
