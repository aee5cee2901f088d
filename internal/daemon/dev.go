package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/examples"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/config"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/internal/resource"
	"github.com/nimbus-epu/epu/internal/strictyaml"
	"github.com/nimbus-epu/epu/scripts"
)

// sampleFolder is where epud dev puts its sample pool, in the data folder.
const sampleFolder = "sample"

// devFolder is the data folder of epud dev. epumgmt looks for it in its folder and in those above.
const devFolder = ".epu"

// addressFile tells epumgmt, in the same folder or below, where the node is.
const addressFile = "node"

func (p *program) devCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "dev", Short: "Run a node to try things out, with a sample pool", Args: noArgs,
		Long: `Run one node in this folder, not for production: its store and its workers, which are processes of this
machine, are in ./.epu. The first start applies a sample pool, epu-sleeper. Policies in ./policies take effect whenever
their files change. With --http at port 0, workers that outlive the node can't reach the next one, which has another port:
they fall silent and are replaced. To begin anew, end the workers with epumgmt terminate-all, stop the node and remove the folder.`,
		Example: "  epud dev\n  epud dev --listen 127.0.0.1:0 --http 127.0.0.1:0",
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := p.load(c, true)
			if err != nil {
				return err
			}
			return p.serve(c.Context(), conf, true, p.greet)
		},
	}
	settingsFlags(c)
	folder := c.Flags().Lookup("data-dir")
	folder.Usage = strings.Replace(folder.Usage, "default /var/lib/epu", "default "+devFolder, 1)
	return c
}

// greet applies the sample pool to a new store and says what to try.
func (p *program) greet(ctx context.Context, n *Node) error {
	if err := os.WriteFile(filepath.Join(n.conf.DataDir, addressFile), []byte(n.RelayAddress()+"\n"), 0o600); err != nil {
		return epu.E(epu.Unavailable, "write", addressFile, err)
	}
	if err := n.applySample(ctx); err != nil {
		return err
	}
	where, node := "in another terminal and this folder", ""
	if filepath.Clean(n.conf.DataDir) != devFolder { // epumgmt does not look there
		where, node = "in another terminal", " --node "+n.RelayAddress()
	}
	fmt.Fprintf(p.streams.Out, `
epud dev: one node, not for production
  data      %[1]s
  commands  %[2]s
  http      %[3]s
  sample    %[4]s (change it, then: epumgmt%[6]s apply -f %[4]s)
  policies  %[7]s

Try, %[5]s:
  epumgmt%[6]s status -w
  epumgmt%[6]s scale epu-sleeper 4
  epumgmt%[6]s explain epu-sleeper
Ctrl-C ends the node; its workers live on until: epumgmt%[6]s terminate-all
`, n.conf.DataDir, n.RelayAddress(), n.agentURLs()[0], n.sampleDir(), where, node, n.policiesText())
	return nil
}

func (n *Node) sampleDir() string { return filepath.Join(n.conf.DataDir, sampleFolder) }

// applySample writes the sample files and applies them, if nothing was ever applied.
func (n *Node) applySample(ctx context.Context) error {
	answer, err := n.tree.Ask(ctx, actors.RegistryAddress, msg.RegistryQuery{})
	if err != nil {
		return err
	}
	if view, ok := answer.(msg.RegistryView); !ok || view.Gen > 0 {
		return nil
	}
	dir := n.sampleDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return epu.E(epu.Unavailable, "make folder", dir, err)
	}
	err = fs.WalkDir(examples.Sleeper, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(examples.Sleeper, name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if filepath.Ext(name) == ".sh" {
			mode = 0o700
		}
		return os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, mode)
	})
	if err != nil {
		return epu.E(epu.Unavailable, "write the sample in", dir, err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return epu.E(epu.Internal, "find folder", dir, err)
	}
	files, err := readFiles([]string{dir})
	if err != nil {
		return err
	}
	_, err = n.gateway.Ask(ctx, &msg.Request{Id: ulid.Make().String(), User: "epud dev"}, proto.Message(&msg.Apply{Files: files}))
	return err
}

// validateFiles checks files of pools as apply would, against nothing applied.
func (p *program) validateFiles(conf config.Node, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	given, err := readFiles(paths)
	if err != nil {
		return err
	}
	if len(given) == 0 {
		return cli.Usage("epud validate -f FOLDER", "no *.yaml file in %v", paths)
	}
	f := &files{
		shelf: engine.NewShelf(engine.ShelfOptions{
			Library: libraryOf(conf, actors.WallClock{}), BuiltIn: scripts.Policies(), Now: actors.WallClock{}.Now,
		}),
		tick: resource.Options{Tick: conf.Tick}, offline: true,
	}
	_, _, err = f.Plan(msg.RegistryView{}, nil, p.env.Dir, given)
	return err
}

// refusal makes every problem of refused files cross to the client.
func refusal(op string, problems []strictyaml.Problem) error {
	err := epu.E(epu.Invalid, op, "", errors.New(epu.Plural(len(problems), "problem")))
	err.Try = "mend the files, then run the command again; nothing was changed"
	r := &msg.Refusal{Err: err}
	for _, p := range problems {
		text := p.Text
		if p.Key != "" {
			text = p.Key + ": " + text
		}
		r.List = append(r.List, &msg.Problem{File: p.File, Line: int32(p.Line), Text: text, Try: p.Try})
	}
	return r
}
