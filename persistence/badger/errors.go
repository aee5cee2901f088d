package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// ErrLocked: another process has the folder open.
var ErrLocked = errors.New("in use by another process")

var errClosed = errors.New("the journal is closed")

// Problem is one piece of damage.
type Problem struct {
	Where string `json:"where"` // a file, relative to the journal's folder, or a stream
	What  string `json:"what"`
}

// String is the problem in one line.
func (p Problem) String() string { return p.Where + ": " + p.What }

func unavailable(op, on string, err error) *epu.Error {
	return epu.E(epu.Unavailable, op, on, fmt.Errorf("%w: %w", persistence.ErrUnavailable, err))
}

func corrupt(op, dir string, problems []Problem) *epu.Error {
	more := ""
	if len(problems) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(problems)-1)
	}
	return &epu.Error{
		Kind: epu.Internal, Op: op, On: dir, Err: fmt.Errorf("%w: %s%s", persistence.ErrCorrupt, problems[0], more),
		Try: "`epud journal check` lists all damage; then restore the newest backup: the store then starts in recovery, in which no machine is ended",
	}
}

const lockFile = "lock"

// lock is a file that is locked as long as a process has the folder open. Badger locks its own folder
// too, but not the witness, and not while the database is being reopened.
type lock struct{ f *os.File }

func acquire(dir, op string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unavailable(op, dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, unavailable(op, dir, err)
		}
		who := "another epud"
		if b, err := os.ReadFile(f.Name()); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				who = fmt.Sprintf("another epud (pid %d)", pid)
			}
		}
		return nil, &epu.Error{
			Kind: epu.Conflict, Op: op, On: dir, Err: fmt.Errorf("%w: %s is running on this folder", ErrLocked, who),
			Try: "ask the running node instead, or stop it first",
		}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(unavailable(op, dir, err), f.Close())
	}
	return &lock{f}, nil
}

func (l *lock) release() error { return l.f.Close() }
