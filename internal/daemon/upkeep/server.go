package upkeep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// socketFile is the socket's name in the node's data folder.
const socketFile = "upkeep.sock"

// headTimeout bounds how long a client may take to say what it wants.
const headTimeout = 10 * time.Second

// The verdict comes after the stream: its text is empty when all went well.
const (
	verdictKind = "Epu-Error-Kind"
	verdictText = "Epu-Error"
	verdictDone = "Epu-Done"
)

// Store is what is read: the node's open journal. Its methods may run beside each other and beside the
// node's own work.
type Store interface {
	// Check looks for damage.
	Check(ctx context.Context) (badger.Report, error)
	// Dump writes the streams whose name begins with prefix as JSON lines.
	Dump(ctx context.Context, w io.Writer, prefix string) error
	// Backup writes the whole store as an archive.
	Backup(ctx context.Context, w io.Writer) error
}

// Server answers tools until it is closed.
type Server struct {
	http  *http.Server
	serve sync.WaitGroup
	ctx   context.Context // of all requests; ends with Close
	end   context.CancelFunc
}

// Listen begins to answer on the socket in a node's data folder. The caller holds the store's lock, so a
// socket that is there already is one that a killed node left.
func Listen(dataDir string, store Store, log *slog.Logger) (*Server, error) {
	const op = "listen for tools in"
	at, err := reach(dataDir)
	if err != nil {
		return nil, epu.E(epu.Unavailable, op, dataDir, err)
	}
	defer at.Close()
	if err := os.Remove(at.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, epu.E(epu.Unavailable, op, dataDir, err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", at.socket)
	if err != nil {
		return nil, epu.E(epu.Unavailable, op, dataDir, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by then the path means another folder's
	if err := os.Chmod(at.socket, 0o600); err != nil {
		return nil, errors.Join(epu.E(epu.Unavailable, op, dataDir, err), l.Close())
	}
	s := &Server{}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler: s.handler(store), ReadHeaderTimeout: headTimeout,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.serve.Go(func() {
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("tools can't reach this node's store any more", "error", err)
		}
	})
	return s, nil
}

// Close ends what is being read and answers nobody any more. The store may be closed after it.
func (s *Server) Close() error {
	s.end()
	err := s.http.Shutdown(context.Background()) // requests end with their context
	s.serve.Wait()
	return err
}

func (s *Server) handler(store Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /check", answer(func(r *http.Request, w io.Writer) error {
		report, err := store.Check(r.Context())
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(report)
	}))
	mux.HandleFunc("GET /dump", answer(func(r *http.Request, w io.Writer) error {
		return store.Dump(r.Context(), w, r.URL.Query().Get("prefix"))
	}))
	mux.HandleFunc("GET /backup", answer(func(r *http.Request, w io.Writer) error {
		return store.Backup(r.Context(), w)
	}))
	return mux
}

// answer streams what a read writes, and its verdict.
func answer(read func(*http.Request, io.Writer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", verdictKind+", "+verdictText+", "+verdictDone)
		w.WriteHeader(http.StatusOK)
		// A tool that takes nothing, such as a pager, would keep the node from stopping for ever.
		defer context.AfterFunc(r.Context(), func() {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) // long past: what waits fails
		})()
		if err := read(r, w); err != nil {
			w.Header().Set(verdictKind, epu.KindOf(err).String())
			w.Header().Set(verdictText, fmt.Sprintf("%+q", err.Error()))
		}
		w.Header().Set(verdictDone, "yes")
	}
}

// place is a socket's path that is short whatever the data folder's is: the system takes 107 bytes.
type place struct {
	folder *os.File
	socket string
}

// reach opens a data folder. The socket's path is good until the place is closed.
func reach(dataDir string) (*place, error) {
	f, err := os.Open(dataDir)
	if err != nil {
		return nil, err
	}
	return &place{f, filepath.Join(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), socketFile)}, nil
}

// Close forgets the folder.
func (p *place) Close() error { return p.folder.Close() }
