package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/versions"
	"github.com/nimbus-epu/epu/internal/config"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/internal/sensor"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// folderEvery is how often epud dev looks at the folder of policies. What changed is taken in when it looks
// the same twice.
const folderEvery = 500 * time.Millisecond

// libraryOf is what a node has without having been given it: its folder and, behind that, what is built in.
func libraryOf(conf config.Node, clock actors.Clock) *policies.Library {
	var folders []fs.FS
	if conf.PoliciesDir != "" {
		folders = append(folders, os.DirFS(conf.PoliciesDir))
	}
	return policies.NewLibrary(append(folders, scripts.Policies())...).Timed(clock.Now)
}

// shelve makes the node's shelf of policies, and what its engines ask for readings.
func (n *Node) shelve() {
	n.library = libraryOf(n.conf, n.opts.Clock)
	n.shelf = engine.NewShelf(engine.ShelfOptions{
		Library: n.library, BuiltIn: scripts.Policies(), Kept: n.keptVersion, Now: n.opts.Clock.Now,
	})
	n.sources = sensor.New(sensor.Options{Getenv: n.opts.Getenv, Now: n.opts.Clock.Now})
}

// view asks the registry for what is applied.
func (n *Node) view(ctx context.Context) (msg.RegistryView, error) {
	answer, err := n.tree.Ask(ctx, actors.RegistryAddress, msg.RegistryQuery{})
	view, _ := answer.(msg.RegistryView)
	return view, err
}

// keptVersion asks the registry for a version of a policy.
func (n *Node) keptVersion(ctx context.Context, name, hash string) (epu.PolicyVersion, error) {
	view, err := n.view(ctx)
	if err != nil {
		return epu.PolicyVersion{}, err
	}
	v, ok := versions.Book(view.Policies).Get(name, hash)
	if !ok {
		return v, epu.E(epu.NotFound, "load policy", name+" "+hash, errors.New("its sources are not kept any more"))
	}
	return v, nil
}

// Controller makes the executor of a pool's controller.
func (n *Node) Controller(_ epu.Owner, pool epu.PoolID) actors.Executor {
	return engine.New(engine.Options{
		Pool: pool, Shelf: n.shelf, Sources: n.sources, Now: n.opts.Clock.Now, Getenv: n.opts.Getenv, Log: n.log,
		Spec: func(ctx context.Context) (epu.PoolSpec, error) {
			view, err := n.view(ctx)
			return view.Pools[pool].Spec, err
		},
	}).Do
}

// watchPolicies begins to look after the folder of policies, in epud dev only: elsewhere a file that changes
// under a running node would act before anybody meant it to.
func (n *Node) watchPolicies() {
	if !n.opts.Dev || n.conf.PoliciesDir == "" {
		return
	}
	folder := engine.NewFolder(engine.FolderOptions{
		Dir: os.DirFS(n.conf.PoliciesDir), Library: n.library, Shelf: n.shelf, Log: n.log, View: n.view,
		Apply: func(ctx context.Context, m *msg.PolicyApply) (*msg.PolicyApplied, error) {
			return n.gateway.ApplyPolicy(ctx, &msg.Request{Id: ulid.Make().String(), User: "epud dev"}, m, epu.PolicyFolder)
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			folder.Sweep(ctx)
			again := make(chan struct{})
			stop := n.opts.Clock.AfterFunc(folderEvery, func() { close(again) })
			select {
			case <-again:
			case <-ctx.Done():
				stop()
			}
		}
	}()
	n.unwatch = func() {
		cancel()
		<-ended
	}
}

// policiesText says where epud dev looks for policies.
func (n *Node) policiesText() string {
	if n.conf.PoliciesDir == "" {
		return "built-in ones only"
	}
	return filepath.Join(n.conf.PoliciesDir, "*.lua") + " (a file that changes takes effect at once)"
}
