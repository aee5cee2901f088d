package daemon

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/relay"
)

type webServer struct {
	listener net.Listener
	server   *http.Server
}

func (n *Node) listenHTTP(ctx context.Context, p relay.Protection) (*webServer, error) {
	l, err := relay.Listen(ctx, n.conf.HTTP, p)
	if err != nil {
		return nil, err
	}
	return &webServer{listener: l}, nil
}

func (w *webServer) start(n *Node, conf *tls.Config) {
	a := &agents{node: n}
	mux := http.NewServeMux()
	answer := func(rw http.ResponseWriter, v any, err error) {
		switch {
		case err == nil:
			_ = json.NewEncoder(rw).Encode(v)
		case epu.KindOf(err) == epu.NotFound:
			http.Error(rw, err.Error(), http.StatusGone)
		case epu.KindOf(err) == epu.Unavailable && strings.Contains(err.Error(), "not yet known"):
			http.Error(rw, err.Error(), http.StatusTooEarly)
		default:
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		}
	}
	mux.HandleFunc("POST "+msg.AgentCheckInPath, func(rw http.ResponseWriter, r *http.Request) {
		var in msg.CheckIn
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(rw, err.Error(), 400)
			return
		}
		claims, err := n.signer.Verify(n.journal.Meta().Installation, in.Bootstrap)
		if err != nil {
			http.Error(rw, err.Error(), 401)
			return
		}
		v, err := a.CheckIn(r.Context(), claims, in)
		answer(rw, v, err)
	})
	mux.HandleFunc("POST "+msg.AgentBeatPath, func(rw http.ResponseWriter, r *http.Request) {
		claims, err := n.signer.Verify(n.journal.Meta().Installation, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil {
			http.Error(rw, err.Error(), 401)
			return
		}
		var in msg.Beat
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(rw, err.Error(), 400)
			return
		}
		v, err := a.Beat(r.Context(), claims, in)
		answer(rw, v, err)
	})
	mux.HandleFunc("GET "+msg.AgentCommandsPath, func(rw http.ResponseWriter, r *http.Request) {
		claims, err := n.signer.Verify(n.journal.Meta().Installation, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil {
			http.Error(rw, err.Error(), 401)
			return
		}
		v, err := a.Commands(r.Context(), claims, r.URL.Query().Get("after"))
		answer(rw, v, err)
	})
	if conf != nil {
		w.listener = tls.NewListener(w.listener, conf)
	}
	w.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := w.server.Serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
			n.served <- err
		}
	}()
}

func (w *webServer) stop(ctx context.Context) { _ = w.server.Shutdown(ctx) }

