package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/daemon/upkeep"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// journalCommand has the tools for a store that no node has open.
func (p *program) journalCommand() *cobra.Command {
	parent := cli.Parent(&cobra.Command{
		Use: "journal", Short: "Check, print, back up and restore a node's store",
		Long: `Work on the store in a data folder. While a node runs on it, check, dump and backup ask that node, which goes
on meanwhile; restore needs it stopped.`,
		Example: "  epud journal check --data-dir /var/lib/epu",
	})
	var dir string
	parent.PersistentFlags().StringVar(&dir, "data-dir", "", "the node's data `FOLDER`, data_dir of its settings (EPU_DATA_DIR)")
	folder := func() (string, error) {
		if dir == "" {
			dir = p.env.Getenv("EPU_DATA_DIR")
		}
		if dir == "" {
			return "", cli.Usage("--data-dir /var/lib/epu, or --data-dir .epu for that of epud dev", "--data-dir is missing")
		}
		return filepath.Join(dir, "journal"), nil
	}
	check := &cobra.Command{
		Use: "check", Short: "Look for damage", Args: noArgs,
		Long: `Read the whole store and check every checksum and that no event is missing. Nothing is changed, also in the
store of a node that was killed: its logs are copied to the folder for temporary files (TMPDIR), some MiB, and
replayed there. What a running node has written since its last tables is checked as it is read; its log on the disk
is checked at every start.`,
		Example: "  epud journal check --data-dir /var/lib/epu",
		RunE: func(c *cobra.Command, _ []string) error {
			at, err := folder()
			if err != nil {
				return err
			}
			report, err := badger.Check(at)
			if errors.Is(err, badger.ErrLocked) {
				report, err = runningReport(c.Context(), at, err)
			}
			if err != nil {
				return p.noStore(err)
			}
			return p.printReport(report)
		},
	}
	var prefix string
	dump := &cobra.Command{
		Use: "dump", Short: "Print the events as JSON lines", Args: noArgs,
		Long: `Print every event of the store, or of the streams whose name begins as --stream says, as one JSON object
per line.`,
		Example: "  epud journal dump --data-dir /var/lib/epu --stream pool/default/epu-web",
		RunE: func(c *cobra.Command, _ []string) error {
			at, err := folder()
			if err != nil {
				return err
			}
			return p.noStore(closedOrRunning(at,
				func() error { return badger.Dump(c.Context(), at, p.streams.Out, prefix) },
				func(node *upkeep.Client) error { return node.Dump(c.Context(), p.streams.Out, prefix) }))
		},
	}
	dump.Flags().StringVar(&prefix, "stream", "", "only streams whose name begins with `PREFIX`")
	parent.AddCommand(check, dump, p.backupCommand(folder), p.restoreCommand(folder))
	return parent
}

func (p *program) backupCommand(folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write the whole store to a file (- for standard output)",
		Long: `Write the whole store to a file, in a form that another kind of store could read too. The file is there
whole or not at all. - writes to standard output. Of a running node it is the store at one moment.`,
		Args:    oneFile,
		Example: "  epud journal backup --data-dir /var/lib/epu epu.backup",
		RunE: func(c *cobra.Command, args []string) error {
			at, err := folder()
			if err != nil {
				return err
			}
			backup := func(w io.Writer) error {
				return closedOrRunning(at,
					func() error { return badger.Backup(c.Context(), at, w) },
					func(node *upkeep.Client) error { return node.Backup(c.Context(), w) })
			}
			if args[0] == "-" {
				return p.noStore(backup(p.streams.Out))
			}
			return p.noStore(writeWhole(args[0], backup))
		},
	}
}

// closedOrRunning reads a store that no node has open, or asks the node that has. Nothing has been written
// when a store turns out to be in use.
func closedOrRunning(at string, closed func() error, running func(*upkeep.Client) error) error {
	err := closed()
	if !errors.Is(err, badger.ErrLocked) {
		return err
	}
	return askRunning(at, err, running)
}

// askRunning asks the node on a store's data folder. When none answers, the lock is another tool's or a
// node's that is starting or stopping, and locked says who has it.
func askRunning(at string, locked error, ask func(*upkeep.Client) error) error {
	err := ask(upkeep.NewClient(filepath.Dir(at)))
	if errors.Is(err, upkeep.ErrNobody) {
		return &epu.Error{Kind: epu.Conflict, Err: locked, Try: "it is starting, stopping or busy with the store: repeat the command in a moment"}
	}
	return err
}

func runningReport(ctx context.Context, at string, locked error) (r badger.Report, err error) {
	err = askRunning(at, locked, func(node *upkeep.Client) (err error) { r, err = node.Check(ctx); return err })
	return r, err
}

func oneFile(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return cli.Usage(c.CommandPath()+" --help", "%s takes one FILE, and got %d arguments", c.CommandPath(), len(args))
	}
	return nil
}

// noStore adds to an error about a store that is not there what to do.
func (p *program) noStore(err error) error {
	if epu.KindOf(err) != epu.NotFound {
		return err
	}
	return &epu.Error{Kind: epu.NotFound, Err: err, Try: "name the data folder of a node that has run: --data-dir FOLDER"}
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return epu.E(epu.Unavailable, "write", path, err)
	}
	if err := write(f); err != nil { // of another kind than what follows: the store may be in use
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	err = errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(epu.E(epu.Unavailable, "write", path, err), os.Remove(f.Name()))
	}
	folder, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(folder.Sync(), folder.Close()) // or a loss of power could take the name back
	}
	if err != nil {
		return epu.E(epu.Unavailable, "write", path, err)
	}
	return nil
}

func (p *program) restoreCommand(folder func() (string, error)) *cobra.Command {
	var floor uint64
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make a store from a backup",
		Long: `Make a store from a backup, while no node runs on the folder. A store that is there already is moved aside.
The restored store is older than the machines that were launched since the backup, so the node starts in
recovery: it launches and ends nothing until epumgmt adopt, sweep and end-recovery have decided about every
machine.

Each life of a store has a number, its epoch; launches carry it (epu-web-3-17 is of epoch 3). The restored
store gets a higher one than the backup and than the store in the folder. Where that store is lost, and the
backup has been restored before or machines of a later epoch run, say the highest one with --epoch-floor.`,
		Args:    oneFile,
		Example: "  epud journal restore --data-dir /var/lib/epu epu.backup\n  epud journal restore --data-dir /var/lib/epu --epoch-floor 3 epu.backup",
		RunE: func(c *cobra.Command, args []string) error {
			at, err := folder()
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return cli.Usage("name a backup that can be read", "read %s: %w", args[0], cli.Reason(err))
			}
			defer f.Close()
			return p.restore(c.Context(), f, at, badger.RestoreOptions{EpochFloor: epu.Epoch(floor)})
		},
	}
	c.Flags().Uint64Var(&floor, "epoch-floor", 0, "highest epoch `N` known to have been in use")
	return c
}

func (p *program) restore(ctx context.Context, r io.Reader, at string, opt badger.RestoreOptions) error {
	done, err := badger.Restore(ctx, r, at, opt)
	if errors.Is(err, badger.ErrLocked) {
		return &epu.Error{Kind: epu.Conflict, Err: err, Try: "stop the node first (systemctl stop epud), then repeat the command; nothing was changed"}
	}
	if err != nil {
		return err
	}
	if done.Replaced != "" {
		fmt.Fprintf(p.streams.Out, "the store that was there is now %s\n", done.Replaced)
	}
	_, err = fmt.Fprintf(p.streams.Out, "restored %s; the store is now in epoch %d and in recovery\n", epu.Plural(done.Streams, "stream"), done.Meta.Epoch)
	if done.Replaced == "" && opt.EpochFloor == 0 {
		fmt.Fprintf(p.streams.Err, `note: no store was in the folder, so only the backup could say which epochs were in use. If launches of epoch %d or
  higher are known (epu-web-3-17 is of epoch 3), restore again with --epoch-floor and the highest of them
`, done.Meta.Epoch)
	}
	fmt.Fprintln(p.streams.Err, "Next: start the node, then epumgmt sweep")
	return err
}

func (p *program) printReport(r badger.Report) error {
	fmt.Fprintf(p.streams.Out, "installation %s, epoch %d: %s, %s\n", r.Meta.Installation, r.Meta.Epoch,
		epu.Plural(r.Streams, "stream"), epu.Plural(int(r.Events), "event"))
	for _, problem := range r.Problems {
		fmt.Fprintln(p.streams.Out, problem)
	}
	if len(r.Problems) > 0 {
		err := epu.E(epu.Internal, "check", "journal", errors.New(epu.Plural(len(r.Problems), "problem")))
		err.Try = "restore the newest backup: epud journal restore FILE; the damaged store is kept beside it"
		return err
	}
	return nil
}
