package web

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/nimbus-epu/epu"
)

// Server serves a Handler on listeners. Those of relay.Listen keep the rule about addresses that others
// can reach.
type Server struct {
	handler *Handler
	http    *http.Server
	tls     bool
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
	return &Server{handler: h, tls: t != nil, http: &http.Server{
		Handler:           h,
		TLSConfig:         t,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       connIdleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		// No ReadTimeout and WriteTimeout: they would cut long polls and streams. Each request has its own.
		ErrorLog: slog.NewLogLogger(h.o.Log.Handler(), slog.LevelDebug), // strangers' broken handshakes
	}}
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
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // the listeners are closed already; what is left are connections
	}
}
