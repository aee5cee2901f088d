package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nimbus-epu/epu/internal/agent/child"
	"github.com/nimbus-epu/epu/internal/agent/queue"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/spf13/cobra"
)

// The exit codes of epu-agent, out of the one table of all programs. A Go program that crashes exits
// with 2, so 2 never means anything else.
const (
	ExitDone        = 0   // told to stop, and stopped
	ExitFailed      = 1   // a program could not be ended, or the agent failed otherwise
	ExitUsage       = 4   // the command line or the configuration is wrong
	ExitWorkerEnded = 11  // the worker no longer exists: do not start the agent again on this machine
	ExitInterrupted = 130 // SIGINT
)

// leftOverMax is how long the kernel may take to end what the programs left behind.
const leftOverMax = 5 * time.Second

// Main runs epu-agent's command line and gives its exit code. It belongs at the top of a process of its
// own: it handles the process's signals and, on Linux, adopts and ends every orphan among its
// descendants. env is the process's environment as os.Environ gives it.
func Main(args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	code, began := ExitDone, false
	root := newRoot(env, stdout, stderr, &code, &began)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteC()
	if err == nil {
		return code
	}
	var problems Problems
	var settings *strictyaml.Error
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintln(stderr, "error:", p)
		}
		return ExitUsage
	case errors.As(err, &settings):
		fmt.Fprintln(stderr, "error:", settings)
		return ExitUsage
	case !began:
		fmt.Fprintf(stderr, "error: %v\n  try: %s --help\n", err, command.CommandPath())
		return ExitUsage
	case errors.Is(err, ErrWorkerEnded):
		fmt.Fprintf(stderr, "error: %v\n  try: nothing; its machine is no longer wanted and will be ended\n", err)
		return ExitWorkerEnded
	}
	fmt.Fprintln(stderr, "error:", err)
	return ExitFailed
}

// Root is the tree of commands without a process around it, for what only describes it.
func Root() *cobra.Command {
	return newRoot(nil, io.Discard, io.Discard, new(int), new(bool))
}

func newRoot(env []string, stdout, stderr io.Writer, code *int, began *bool) *cobra.Command {
	root := &cobra.Command{
		Use:           "epu-agent",
		Short:         "Looks after a worker machine of EPU, or measures queues",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	var from sources
	worker := &cobra.Command{
		Use:   "worker",
		Short: "Check in with a node, run the worker's program, send heartbeats, drain and stop when told",
		Long: "worker checks in with a node, runs and supervises the worker's program, sends heartbeats and\n" +
			"carries out the node's commands. Its configuration is the user data that the node wrote for this\n" +
			"machine; flags are for machines started by hand.\n\n" +
			"Exit codes: 0 stopped, 1 failed, 4 wrong usage or configuration, 11 the worker has ended,\n" +
			"130 interrupted.",
		Example: "  EPU_USER_DATA=/var/lib/epu/user-data.json EPU_INSTANCE=i-0abc epu-agent worker\n" +
			"  epu-agent worker --user-data user-data.json --instance by-hand-1 --node http://127.0.0.1:7700",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			*began = true
			cfg, level, err := load(from, env)
			if err != nil {
				return err
			}
			*code, err = runWorker(cfg, level, stdout, stderr)
			return err
		},
	}
	f := worker.Flags()
	f.StringVar(&from.userData, "user-data", "", "file with the machine's user data (environment "+EnvUserData+")")
	f.StringVar(&from.instance, "instance", "", "the cloud's ID of this machine (environment "+EnvInstance+")")
	f.StringSliceVar(&from.nodes, "node", nil, "base URL of a node instead of the user data's; may be repeated")
	f.StringVar(&from.drainCommand, "drain-command", "", "shell command that drains the program, instead of SIGTERM (environment "+EnvDrainCommand+")")
	f.StringVar(&from.logLevel, "log-level", "", "debug, info, warn or error (environment "+EnvLogLevel+"; default info)")
	queues := queue.Command(lookup(env), func() { *began = true }, func(cfg queue.Config, level slog.Level) error {
		*code = runQueue(cfg, level, stderr)
		return nil
	})
	root.AddCommand(worker, queues, newBusy(env, began), newIdle(env, began))
	return root
}

func newBusy(env []string, began *bool) *cobra.Command {
	return &cobra.Command{
		Use:   "busy [TIME]",
		Short: "Say, from within a worker's program, that it is at work",
		Long: "busy keeps the worker from being chosen when its pool shrinks, for TIME (such as 90s or 10m) or until\n" +
			"idle is said. It writes the file that EPU_STATUS_FILE names, which a program may do as well.",
		Example: "  epu-agent busy 10m\n  epu-agent busy",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return sayStatus(env, began, strings.Join(append([]string{"busy"}, args...), " "))
		},
	}
}

func newIdle(env []string, began *bool) *cobra.Command {
	return &cobra.Command{
		Use:     "idle",
		Short:   "Say, from within a worker's program, that it waits for work",
		Long:    "idle takes back busy, and begins the time that policies see as idle_since.",
		Example: "  epu-agent idle",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return sayStatus(env, began, "idle")
		},
	}
}

func sayStatus(env []string, began *bool, text string) error {
	*began = true
	if _, err := parseStatus(text); err != nil {
		return Problems{{Text: err.Error(), Try: "epu-agent busy 10m"}}
	}
	s := sources{}
	s.fill(env)
	if s.statusFile == "" {
		return Problems{{Text: EnvStatusFile + " is not set", Try: "run it from a program that epu-agent worker started, or set it to that agent's file"}}
	}
	if err := StatusFile(s.statusFile).Write(text); err != nil {
		return fmt.Errorf("say %q: %w", text, err)
	}
	return nil
}

// runWorker is a worker's agent as a process: real time, real children, the process's signals.
func runWorker(cfg Config, level slog.Level, stdout, stderr io.Writer) (int, error) {
	cfg.Stdout = stdout
	cfg.Stderr = child.NewOutput(stderr) // the log's lines and the programs' don't mix
	cfg.Log = slog.New(slog.NewTextHandler(cfg.Stderr, &slog.HandlerOptions{Level: level}))
	cfg.Clock, cfg.Random = realClock{}, rand.Float64

	// A reader of our output that went away must not end the worker. Ignoring the signal instead would
	// be inherited by the programs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	set := child.NewSet()
	cfg.start = func(s child.Spec) (process, error) { return started(set.Start(s)) }
	release, err := set.Adopt()
	if err != nil {
		return ExitFailed, err
	}
	a := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	interrupted := onSignals(cancel, a.Hurry)

	err = a.Run(ctx)
	release()
	end, endCancel := context.WithTimeout(context.Background(), leftOverMax)
	defer endCancel()
	err = errors.Join(err, set.EndOrphans(end))
	if err == nil && interrupted.Load() {
		return ExitInterrupted, nil
	}
	return ExitDone, err
}

// runQueue is a queue's agent as a process. Nothing but a signal ends it.
func runQueue(cfg queue.Config, level slog.Level, stderr io.Writer) int {
	cfg.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	cfg.Now, cfg.After, cfg.User = time.Now, time.After, "epu-agent queue"
	if host, err := os.Hostname(); err == nil {
		cfg.User += " on " + host
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	interrupted := onSignals(cancel, func() {}) // a request that is under way ends with the context
	queue.New(cfg).Run(ctx)
	if interrupted.Load() {
		return ExitInterrupted
	}
	return ExitDone
}

// lookup reads variables of an environment; of equal keys the last counts.
func lookup(env []string) func(string) string {
	set := map[string]string{}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		set[k] = v
	}
	return func(name string) string { return set[name] }
}

// onSignals stops the agent at the first signal and hurries it at the second.
func onSignals(stop, hurry func()) (interrupted *atomic.Bool) {
	interrupted = &atomic.Bool{}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() { // lives as long as the process
		for n := 1; ; n++ {
			if <-signals == syscall.SIGINT {
				interrupted.Store(true)
			}
			if n == 1 {
				stop()
			} else {
				hurry()
			}
		}
	}()
	return interrupted
}

// realClock is the system's time.
type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }
