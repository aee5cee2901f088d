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
	"github.com/nimbus-epu/epu/persistence/badger"
)

// journalCommand has the tools for a store that no node has open.
func (p *program) journalCommand() *cobra.Command {
	parent := &cobra.Command{
		Use: "journal", Short: "Check, print, back up and restore a node's store",
		Long: `Work on the store in a data folder while no node runs on it.`,
	}
	var dir string
	parent.PersistentFlags().StringVar(&dir, "data-dir", "", "the node's data `folder` (data_dir of its settings)")
	folder := func() (string, error) {
		if dir == "" {
			return "", cli.Usage("epud journal check --data-dir /var/lib/epu", "--data-dir is missing")
		}
		return filepath.Join(dir, "journal"), nil
	}
	check := &cobra.Command{
		Use: "check", Short: "Look for damage", Args: noArgs, Example: "  epud journal check --data-dir /var/lib/epu",
		RunE: func(*cobra.Command, []string) error {
			at, err := folder()
			if err != nil {
				return err
			}
			report, err := badger.Check(at)
			if err != nil {
				return err
			}
			return p.printReport(report)
		},
	}
	var prefix string
	dump := &cobra.Command{
		Use: "dump", Short: "Print the events as JSON lines", Args: noArgs,
		Example: "  epud journal dump --data-dir /var/lib/epu --stream pool/default/epu-web",
		RunE: func(c *cobra.Command, _ []string) error {
			at, err := folder()
			if err != nil {
				return err
			}
			return badger.Dump(c.Context(), at, p.streams.Out, prefix)
		},
	}
	dump.Flags().StringVar(&prefix, "stream", "", "only streams whose name begins so")
	parent.AddCommand(check, dump, p.backupCommand(folder), p.restoreCommand(folder))
	return parent
}

func (p *program) backupCommand(folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write the whole store to a file (- for standard output)",
		Args:    oneFile,
		Example: "  epud journal backup --data-dir /var/lib/epu epu.backup",
		RunE: func(c *cobra.Command, args []string) error {
			at, err := folder()
			if err != nil {
				return err
			}
			if args[0] == "-" {
				return badger.Backup(c.Context(), at, p.streams.Out)
			}
			return writeWhole(args[0], func(w io.Writer) error { return badger.Backup(c.Context(), at, w) })
		},
	}
}

func oneFile(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return cli.Usage(c.CommandPath()+" --help", "%s takes one FILE, and got %d arguments", c.CommandPath(), len(args))
	}
	return nil
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return epu.E(epu.Unavailable, "write", path, err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(epu.E(epu.Unavailable, "write", path, err), os.Remove(f.Name()))
	}
	return nil
}

func (p *program) restoreCommand(folder func() (string, error)) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Make a store from a backup",
		Long: `Make a store from a backup. A store that is there already is moved aside. The restored store is older than the
machines that were launched since the backup, so the node starts in recovery: it launches and ends
nothing until epumgmt adopt, sweep and end-recovery have decided about every machine.`,
		Args: oneFile, Example: "  epud journal restore --data-dir /var/lib/epu epu.backup",
		RunE: func(c *cobra.Command, args []string) error {
			at, err := folder()
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return epu.E(epu.NotFound, "read", args[0], err)
			}
			defer f.Close()
			return p.restore(c.Context(), f, at)
		},
	}
}

func (p *program) restore(ctx context.Context, r io.Reader, at string) error {
	done, err := badger.Restore(ctx, r, at, badger.RestoreOptions{})
	if err != nil {
		return err
	}
	if done.Replaced != "" {
		fmt.Fprintf(p.streams.Out, "the store that was there is now %s\n", done.Replaced)
	}
	_, err = fmt.Fprintf(p.streams.Out, "restored %d streams; the store is now in epoch %d and in recovery\n", done.Streams, done.Meta.Epoch)
	return err
}

func (p *program) printReport(r badger.Report) error {
	fmt.Fprintf(p.streams.Out, "installation %s, epoch %d: %d streams, %d events\n", r.Meta.Installation, r.Meta.Epoch, r.Streams, r.Events)
	for _, problem := range r.Problems {
		fmt.Fprintln(p.streams.Out, problem)
	}
	if len(r.Problems) > 0 {
		err := epu.E(epu.Internal, "check", "journal", fmt.Errorf("%d problems", len(r.Problems)))
		err.Try = "restore the newest backup: epud journal restore"
		return err
	}
	return nil
}
