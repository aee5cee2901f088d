package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/gateway"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/cluster/identity"
	"github.com/nimbus-epu/epu/internal/config"
	"github.com/nimbus-epu/epu/internal/daemon/engine"
	"github.com/nimbus-epu/epu/internal/daemon/upkeep"
	"github.com/nimbus-epu/epu/internal/relay"
	"github.com/nimbus-epu/epu/internal/resource"
	"github.com/nimbus-epu/epu/internal/sensor"
	"github.com/nimbus-epu/epu/persistence/badger"
	"github.com/nimbus-epu/epu/policies"
)

// Options are what a Node is made of.
type Options struct {
	Conf    config.Node
	Dev     bool
	Clock   actors.Clock
	Getenv  func(string) string
	Log     *slog.Logger
	Version *msg.Version
}

// Node is one running epud.
type Node struct {
	opts    Options
	conf    config.Node
	log     *slog.Logger
	journal *badger.Journal
	history *badger.History
	signer  *identity.Signer
	library *policies.Library
	shelf   *engine.Shelf
	sources *sensor.Puller
	tree    *actors.Tree
	gateway *gateway.Gateway
	relay   *relay.Server
	web     *webServer
	started time.Time
	budgets sync.Map // of calls, by epu.SiteID: *rate.Limiter

	upkeep        *upkeep.Server
	unwatch       func() // ends the watch of the folder of policies; nil without one
	relayListener net.Listener
	served        chan error
}

// keyFile is the signing key of workers' tokens, in the data folder.
const keyFile = "worker-tokens.key"

// New opens the store and makes a node that does not run yet. Close undoes it.
func New(opts Options) (*Node, error) {
	n := &Node{opts: opts, conf: opts.Conf, log: opts.Log, started: opts.Clock.Now(), served: make(chan error, 2)}
	if err := os.MkdirAll(n.conf.DataDir, 0o700); err != nil {
		return nil, epu.E(epu.Unavailable, "make data folder", n.conf.DataDir, err)
	}
	n.shelve()
	store := badger.Options{Now: opts.Clock.Now, Logger: opts.Log}
	if n.conf.Journal.Memory != "small" {
		store.MemTableBytes = memTableBytesDefault
	}
	var err error
	if n.journal, err = badger.Open(filepath.Join(n.conf.DataDir, "journal"), store); err != nil {
		return nil, err
	}
	if n.signer, err = identity.Open(filepath.Join(n.conf.DataDir, keyFile)); err != nil {
		return nil, errors.Join(err, n.journal.Close())
	}
	n.history, err = badger.OpenHistory(filepath.Join(n.conf.DataDir, "history"), badger.HistoryOptions{
		Options: store, KeepFor: n.conf.History.MaxAge(), KeepBytes: n.conf.History.MaxBytes,
	})
	if err != nil {
		return nil, errors.Join(err, n.journal.Close())
	}
	return n, nil
}

// A process that was killed has its store open until its memory is freed, which takes a large node a while.
const (
	lockWaitMax   = 3 * time.Second
	lockWaitSaid  = 500 * time.Millisecond // after which people are told
	lockWaitRetry = 50 * time.Millisecond
)

// NewPatiently is New for when the node before has just been killed: it waits a few seconds until no other
// process has the store open, or until the context ends. A wait that people would notice is said.
func NewPatiently(ctx context.Context, opts Options, out io.Writer) (*Node, error) {
	for began, said := opts.Clock.Now(), false; ; {
		n, err := New(opts)
		waited := opts.Clock.Now().Sub(began)
		if !errors.Is(err, badger.ErrLocked) || waited >= lockWaitMax {
			return n, err
		}
		if !said && waited >= lockWaitSaid {
			said = true
			fmt.Fprintf(out, "epud: %v; waiting up to %v for it to end\n", err, lockWaitMax)
		}
		again := make(chan struct{})
		stop := opts.Clock.AfterFunc(lockWaitRetry, func() { close(again) })
		select {
		case <-again:
		case <-ctx.Done():
			stop()
			return nil, err
		}
	}
}

// memTableBytesDefault is Badger's unit of memory where memory is not scarce.
const memTableBytesDefault = 64 << 20

// Start opens the listeners and starts the actors. It returns when the node answers.
func (n *Node) Start(ctx context.Context) error {
	// Operators prove themselves by certificate, agents by token: each listener needs its own.
	listener, err := relay.Listen(ctx, n.conf.Listen, relay.Protection{TLS: n.conf.TLS.ClientCA != "", Insecure: n.conf.Insecure})
	if err != nil {
		return err
	}
	n.relayListener = listener
	if n.web, err = n.listenHTTP(ctx, relay.Protection{TLS: n.conf.TLS.Enabled(), Insecure: n.conf.Insecure}); err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := n.begin(); err != nil {
		return errors.Join(err, listener.Close(), n.web.abandon())
	}
	n.log.Info("epud is up", "node", n.conf.Node.Name, "relay", n.RelayAddress(), "http", n.HTTPAddress(),
		"data", n.conf.DataDir, "installation", n.journal.Meta().Installation, "epoch", n.journal.Meta().Epoch)
	return nil
}

// begin starts the actors and answers on the listeners. On failure no actor runs any more: whoever closes
// the store then takes it from nobody.
func (n *Node) begin() error {
	journal, err := withCrashPoints(n.journal, n.opts.Getenv, n.log)
	if err != nil {
		return err
	}
	conf, err := n.serverTLS()
	if err != nil {
		return err
	}
	sys := actors.NewSystem(n.opts.Clock, journal, n.history, n.log, func() string { return ulid.Make().String() })
	if n.tree, err = actors.Start(sys, n); err != nil {
		return err
	}
	n.gateway = gateway.New(n.tree, &files{shelf: n.shelf, tick: resource.Options{Tick: n.conf.Tick}}, n.shelf, gateway.NodeInfo{
		Name: n.conf.Node.Name, Version: n.opts.Version, Started: n.started, Roles: []string{"provisioner", "controllers"},
		APIBudget: n.apiBudget,
	})
	if n.upkeep, err = upkeep.Listen(n.conf.DataDir, n.journal, n.log); err != nil {
		n.tree.Stop()
		return err
	}
	n.serve(conf)
	n.watchPolicies()
	return nil
}

// serve begins to answer on the listeners.
func (n *Node) serve(conf *tls.Config) {
	n.relay = relay.NewServer(n.gateway, relay.Options{TLS: conf, Log: n.log})
	go func() { n.served <- n.relay.Serve(n.relayListener) }()
	n.web.start(n, conf)
}

// RelayAddress is where epumgmt reaches the node.
func (n *Node) RelayAddress() string {
	if a := n.relayListener.Addr(); a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return n.relayListener.Addr().String()
}

// HTTPAddress is where agents and browsers reach the node.
func (n *Node) HTTPAddress() string { return n.web.listener.Addr().String() }

// Failed gives the error of a listener that ended by itself.
func (n *Node) Failed() <-chan error { return n.served }

// agentURLs are the base URLs that agents are given.
func (n *Node) agentURLs() []string {
	if n.conf.AgentURL != "" {
		return []string{n.conf.AgentURL}
	}
	if n.conf.TLS.Enabled() {
		return []string{"https://" + n.HTTPAddress()}
	}
	return []string{"http://" + n.HTTPAddress()}
}

// Stop ends the node: first its listeners, then its actors, then the store. What is due stays due.
func (n *Node) Stop(ctx context.Context) error {
	if n.unwatch != nil {
		n.unwatch()
	}
	n.web.handler.Drain()
	n.relay.Stop(ctx)
	n.web.stop(ctx, n)
	n.tree.Stop()
	n.sources.Close()
	return errors.Join(n.upkeep.Close(), n.Close(ctx))
}

// Close closes the store.
func (n *Node) Close(ctx context.Context) error {
	flush := n.history.Flush(ctx)
	return errors.Join(flush, n.history.Close(), n.journal.Close())
}
