package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/oklog/ulid/v2"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/eventlog"
	"github.com/nimbus-epu/epu/internal/metrics"
	"github.com/nimbus-epu/epu/internal/relay"
	"github.com/nimbus-epu/epu/internal/web"
)

// webServer is the node's HTTP side with what follows the node's records: metrics and the event log.
type webServer struct {
	listener net.Listener
	handler  *web.Handler
	server   *web.Server
	metrics  *metrics.Metrics
	events   *eventlog.Log // nil when no file is set
	follow   context.Context
	unfollow context.CancelFunc
	running  sync.WaitGroup
}

func (n *Node) listenHTTP(ctx context.Context, p relay.Protection) (*webServer, error) {
	l, err := relay.Listen(ctx, n.conf.HTTP, p)
	if err != nil {
		return nil, err
	}
	w := &webServer{listener: l}
	w.follow, w.unfollow = context.WithCancel(context.WithoutCancel(ctx))
	if file := n.conf.Events.File; file != "" {
		w.events, err = eventlog.Open(file, eventlog.Options{Cloudyvent: n.conf.Events.Cloudyvent, Log: n.log})
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return w, nil
}

// start begins to serve and to follow the node's records.
func (w *webServer) start(n *Node, conf *tls.Config) {
	w.metrics = metrics.New(metrics.Options{
		Status: n.askStatus, Counters: n.counters, Version: n.opts.Version, Process: true,
	})
	w.handler = web.New(web.Options{
		Agents: &agents{node: n}, Tokens: n.signer, Installation: n.journal.Meta().Installation, Router: n.gateway,
		Ready: n.conditions, NewID: func() string { return ulid.Make().String() }, Now: n.opts.Clock.Now,
		Metrics: w.metrics.Handler(), Meter: w.metrics, Log: n.log, Insecure: n.conf.Insecure, Hosts: n.hosts(),
	})
	w.server = web.NewServer(w.handler, conf)
	records, cancel := n.tree.Events.Subscribe()
	w.running.Go(func() {
		defer cancel()
		w.metrics.Run(w.follow, records)
	})
	if w.events != nil {
		w.log(n)
	}
	if w.events != nil || !n.opts.Dev { // epud dev without an event log ends with its terminal
		w.onHangup(n)
	}
	go func() { n.served <- w.server.Serve(w.listener) }()
}

// log writes the node's records to the event log.
func (w *webServer) log(n *Node) {
	records, cancel := n.tree.Events.Subscribe()
	w.running.Go(func() {
		defer cancel()
		w.events.Run(w.follow, records)
	})
}

// onHangup opens the event log anew at SIGHUP, which programs that rotate logs send. A node without one goes on
// as well: nobody who sends the signal means to end it.
func (w *webServer) onHangup(n *Node) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	w.running.Go(func() {
		defer signal.Stop(hangup)
		for {
			select {
			case <-w.follow.Done():
				return
			case <-hangup:
				if w.events == nil {
					n.log.Info("SIGHUP: there is no event log to open anew; settings are read at a start only")
				} else if err := w.events.Reopen(); err != nil {
					n.log.Error("event log can't be opened anew", "error", err)
				}
			}
		}
	})
}

// abandon closes what a start that failed had opened.
func (w *webServer) abandon() error {
	w.unfollow()
	err := w.listener.Close()
	if w.events != nil {
		err = errors.Join(err, w.events.Close())
	}
	return err
}

// stop ends serving, then what follows the records.
func (w *webServer) stop(ctx context.Context, n *Node) {
	w.server.Stop(ctx)
	w.unfollow()
	w.running.Wait()
	if w.events != nil {
		if err := w.events.Close(); err != nil {
			n.log.Error("event log can't be closed", "error", err)
		}
	}
}

// hosts are the names under which browsers may ask this node.
func (n *Node) hosts() []string {
	names := []string{n.conf.Node.Name}
	if u, err := url.Parse(n.conf.AgentURL); err == nil && u.Hostname() != "" {
		names = append(names, u.Hostname())
	}
	return names
}

// askStatus is the status that metrics are made from.
func (n *Node) askStatus(ctx context.Context) (*msg.Status, error) {
	answer, err := n.gateway.Ask(ctx, &msg.Request{User: "metrics"}, &msg.StatusQuery{})
	if err != nil {
		return nil, err
	}
	return answer.(*msg.Status), nil
}

// counters are the node's own numbers.
func (n *Node) counters() metrics.Counters {
	c := metrics.Counters{
		ActorRestarts: n.tree.Restarts.Load(), UnknownMessages: n.tree.Unknowns.Load(), HistoryDropped: n.history.Dropped(),
		MailboxDepth: n.tree.Waiting(), JournalDegraded: n.tree.Degraded(),
	}
	if n.web.events != nil {
		c.EventsDropped = n.web.events.Dropped()
	}
	return c
}

// conditions looks at every durable actor and every site.
func (n *Node) conditions(ctx context.Context) []web.Condition {
	out := []web.Condition{n.durable(ctx, "registry", actors.RegistryAddress)}
	answer, err := n.tree.Ask(ctx, actors.RegistryAddress, msg.RegistryQuery{})
	view, ok := answer.(msg.RegistryView)
	if err != nil || !ok {
		return out
	}
	for site := range view.Sites {
		c := n.durable(ctx, "site "+string(site), msg.SiteAddress(site))
		answer, err := n.tree.Ask(ctx, msg.SiteAddress(site), msg.SiteQuery{})
		if v, ok := answer.(msg.SiteView); err == nil && ok && !v.Synced && c.OK {
			c = web.Condition{Name: c.Name, Text: "has not been listed since the start: " + v.Fault, Try: "epumgmt doctor"}
		}
		out = append(out, c)
	}
	for pool := range view.Pools {
		out = append(out, n.durable(ctx, "pool "+string(pool), msg.ControllerAddress(epu.DefaultOwner, pool)))
	}
	return out
}

func (n *Node) durable(ctx context.Context, name string, addr msg.Address) web.Condition {
	answer, err := n.tree.Ask(ctx, addr, actors.DurableStatus{})
	s, ok := answer.(actors.DurableState)
	switch {
	case err != nil:
		return web.Condition{Name: name, Text: "does not answer: " + err.Error(), Try: "look at the node's log"}
	case !ok || !s.Ready:
		return web.Condition{Name: name, Text: "is being loaded", Try: "wait a moment"}
	case s.Degraded != nil:
		return web.Condition{Name: name, Text: s.Degraded.Error(), Try: "make space on the disk of the data folder"}
	}
	return web.Condition{Name: name, OK: true}
}

// serverTLS makes the relay's TLS, which asks every client for a certificate; nil without TLS. The HTTP
// side uses it too, and serves agents without one: they have tokens.
func (n *Node) serverTLS() (*tls.Config, error) {
	c := n.conf.TLS
	if !c.Enabled() {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, epu.E(epu.Invalid, "read the certificate", c.Cert, err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	if c.ClientCA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, epu.E(epu.Invalid, "read the clients' authority", c.ClientCA, err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, epu.E(epu.Invalid, "read the clients' authority", c.ClientCA, errors.New("it holds no certificate"))
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	return conf, nil
}
