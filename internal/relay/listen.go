package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/nimbus-epu/epu"
)

const (
	keepaliveEvery   = 30 * time.Second // an idle connection is probed this often, from both sides
	keepaliveTimeout = 10 * time.Second // and given up when the probe is not answered
	keepaliveMin     = 10 * time.Second // clients that probe more often are cut
	connectTimeout   = 5 * time.Second
)

func serverOptions(o Options) []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(o.MessageBytesMax),
		grpc.MaxSendMsgSize(o.MessageBytesMax),
		grpc.MaxConcurrentStreams(streamsMax),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveEvery, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMin, PermitWithoutStream: true}),
	}
	if o.TLS != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(o.TLS)))
	}
	return opts
}

// Protection says what stands between a listener and strangers. Both false is right for loopback only.
type Protection struct {
	TLS      bool // the server has TLS and asks for client certificates
	Insecure bool // the operator wrote --insecure: anyone who reaches the address commands the node
}

// Listen opens host:port, or unix:PATH with access for the own user only. An address that others can
// reach is refused without TLS, unless the operator insists in full view.
func Listen(ctx context.Context, address string, p Protection) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return listenUnix(ctx, path)
	}
	if err := Allowed(ctx, address, p); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		e := epu.E(epu.Unavailable, "listen on", address, plain(err))
		if errors.Is(err, syscall.EADDRINUSE) {
			e.Kind, e.Try = epu.Conflict, "stop the other program, or choose another port with --listen (commands) or --http (agents, pages)"
		}
		return nil, e
	}
	return l, nil
}

// Allowed checks an address against its protection without opening it. Other listeners of a node, such
// as HTTP, follow the same rule.
func Allowed(ctx context.Context, address string, p Protection) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return &epu.Error{Kind: epu.Invalid, Op: "listen on", On: address, Err: err, Try: "write host:port, such as 127.0.0.1:7420"}
	}
	if p.TLS || p.Insecure {
		return nil
	}
	loopback, err := isLoopback(ctx, host)
	if err != nil {
		return epu.E(epu.Invalid, "listen on", address, err)
	}
	if !loopback {
		return &epu.Error{
			Kind: epu.Denied, Op: "listen on", On: address,
			Err: errors.New("others can reach this address, and without TLS anyone could command the node"),
			Try: "configure tls.cert, tls.key and tls.client_ca, listen on 127.0.0.1, or say --insecure",
		}
	}
	return nil
}

// isLoopback resolves names: every address of a name must be loopback. No host means every address.
func isLoopback(ctx context.Context, host string) (bool, error) {
	if host == "" {
		return false, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback(), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false, fmt.Errorf("look up %s: %w", host, err)
	}
	for _, a := range addrs {
		if !a.Unmap().IsLoopback() {
			return false, nil
		}
	}
	return len(addrs) > 0, nil
}

// listenUnix takes over a socket file that a dead process left behind, never one that answers.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		// Connecting to what is no socket is refused as well, and what it holds may be needed.
		if info, serr := os.Lstat(path); serr == nil && info.Mode().Type() != os.ModeSocket {
			return nil, &epu.Error{
				Kind: epu.Conflict, Op: "listen on", On: "unix:" + path, Err: errors.New("there is something else that is no socket"),
				Try: "choose another path, or remove what is there",
			}
		}
		d := net.Dialer{Timeout: connectTimeout}
		conn, derr := d.DialContext(ctx, "unix", path)
		if derr == nil {
			_ = conn.Close()
			return nil, &epu.Error{
				Kind: epu.Conflict, Op: "listen on", On: "unix:" + path, Err: errors.New("another process answers there"),
				Try: "stop it, or choose another path",
			}
		}
		if errors.Is(derr, syscall.ECONNREFUSED) && os.Remove(path) == nil {
			l, err = lc.Listen(ctx, "unix", path)
		}
	}
	if err != nil {
		return nil, epu.E(epu.Unavailable, "listen on", "unix:"+path, plain(err))
	}
	const ownerOnly = 0o600
	if err := os.Chmod(path, ownerOnly); err != nil {
		_ = l.Close()
		return nil, epu.E(epu.Internal, "protect", "unix:"+path, err)
	}
	return l, nil
}

// plain takes the address out of a network error: it stands in the error around it already.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		var call *os.SyscallError
		if errors.As(op.Err, &call) {
			return call.Err
		}
		return op.Err
	}
	return err
}
