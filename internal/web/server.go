package web

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/nimbus-epu/epu"
)

// Server serves a Handler on listeners. Those of relay.Listen keep the rule about addresses that others
// can reach.
type Server struct {
	handler *Handler
	http    *http.Server
	tls     bool

	mu       sync.Mutex // guards what connections and Stop both change
	silent   map[net.Conn]struct{}
	stopping bool
}

// NewServer makes a server. It does nothing before Serve. With TLS, clients' certificates are verified
// if the configuration has ClientCAs, and agents, which have none, are served all the same.
func NewServer(h *Handler, t *tls.Config) *Server {
	if t != nil {
		t = t.Clone()
		if t.ClientCAs != nil {
			t.ClientAuth = tls.VerifyClientCertIfGiven
		} else {
			t.ClientAuth = tls.NoClientCert
		}
	}
	s := &Server{handler: h, tls: t != nil, silent: map[net.Conn]struct{}{}}
	s.http = &http.Server{
		Handler:           h,
		TLSConfig:         t,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       connIdleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		// No ReadTimeout and WriteTimeout: they would cut long polls and streams. Each request has its own.
		ErrorLog:  slog.NewLogLogger(h.o.Log.Handler(), slog.LevelDebug), // strangers' broken handshakes
		ConnState: s.follow,
	}
	return s
}

// follow keeps the connections on which nothing was asked yet.
func (s *Server) follow(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.silent, c)
	case s.stopping:
		_ = c.Close() // as in hangUp
	default:
		s.silent[c] = struct{}{}
	}
}

// Serve answers requests on a listener until Stop, which makes it return nil. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	var err error
	if s.tls {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return epu.E(epu.Internal, "serve HTTP on", l.Addr().String(), err)
	}
	return nil
}

// Stop ends polls and streams, lets running requests finish until the context ends, and cuts what is
// left. It may be called again.
func (s *Server) Stop(ctx context.Context) {
	s.handler.Drain()
	s.hangUp()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // the listeners are closed already; what is left are connections
	}
}

// hangUp ends the connections on which nothing was asked yet. Clients keep spare ones, and Shutdown would
// wait five seconds for each to say something.
func (s *Server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for c := range s.silent {
		_ = c.Close() // it carries nothing
	}
}
