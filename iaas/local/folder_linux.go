package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// launch is launch.json: all that is decided when a launch is accepted. It never changes.
type launch struct {
	Token     epu.Token          `json:"token"`
	Digest    string             `json:"digest"`
	Request   iaas.LaunchRequest `json:"request"` // without the values of secrets
	Argv      []string           `json:"argv"`
	Path      string             `json:"path"`
	Grace     time.Duration      `json:"grace_ns"`
	LogBytes  int64              `json:"log_bytes"`
	Launched  time.Time          `json:"launched"`
	Instances []place            `json:"instances"`
}

// secretsFile holds the values of an instance's secret variables until its program has been started.
const secretsFile = "secrets.json"

// place is one instance of a launch; its folder is named for its index.
type place struct {
	ID      epu.InstanceID `json:"id"`
	Address string         `json:"address"`
}

// phase is how far an instance has come. It only moves forward.
type phase string

const (
	phaseNone     phase = ""         // no state.json: the program was never started
	phaseStarting phase = "starting" // it may have been started; it never will be from here
	phaseRunning  phase = "running"
	phaseLost     phase = "lost"  // its keeper was killed; another one ends what is left
	phaseEnded    phase = "ended" // nothing of it is left, and nothing will be
)

// state is state.json, written only by who holds the lock. The process IDs are for people to read.
type state struct {
	Phase   phase     `json:"phase"`
	Keeper  int       `json:"keeper_pid,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Cgroup  string    `json:"cgroup,omitempty"` // path of its own; empty if it has none
	Boot    string    `json:"boot,omitempty"`   // of the machine when the program was started
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Reason  string    `json:"reason,omitempty"`
}

func readState(dir string) (state, error) {
	var s state
	b, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err == nil && json.Unmarshal(b, &s) != nil {
		// "running" is not synced, so a power cut can leave an empty file. Nothing runs after one, and
		// "starting" is what leads to a clean end.
		s = state{Phase: phaseStarting}
	}
	return s, err
}

// bootID changes with every start of the machine.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

func terminateAsked(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "terminate.json"))
	return err == nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON makes a file that is there whole or not at all. With durable set it outlives a power cut.
func writeJSON(path string, v any, durable bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(path, b, durable)
}

func writeFile(path string, b []byte, durable bool) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if durable {
		return syncDir(dir)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Locks are of the open-file-description kind: they can be looked at without being taken, they belong
// to the open file and not to the process, so a child inherits them, and they end with its last holder.

// tryLock takes a folder's lock; ok is false if somebody else has it.
func tryLock(dir string) (f *os.File, ok bool, err error) {
	f, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false, err
	}
	if err = lockFile(f); err == nil {
		return f, true, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, false, nil
	}
	return nil, false, err
}

func lockFile(f *os.File) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// locked reports that a folder's lock is held, without touching it.
func locked(dir string) (bool, error) {
	fd, err := unix.Open(filepath.Join(dir, "lock"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, &fs.PathError{Op: "open", Path: filepath.Join(dir, "lock"), Err: err}
	}
	defer unix.Close(fd)
	l := unix.Flock_t{Type: unix.F_RDLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l); err != nil {
		return false, err
	}
	return l.Type != unix.F_UNLCK, nil
}

// fault turns an error of the file system into one that callers act on.
func fault(op, on string, err error) error {
	kind := epu.Transient
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		kind = epu.Denied
	}
	e := epu.E(kind, op, on, err)
	if kind == epu.Denied {
		e.Try = "give the daemon's user the site's folder, writable"
	}
	if errors.Is(err, unix.ENOSPC) {
		e.Try = "make room on the disk of the site's folder"
	}
	return e
}
