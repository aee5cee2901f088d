package local

import (
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// selfExe is this very binary, also after the file was replaced or removed by an upgrade.
const selfExe = "/proc/self/exe"

// lockFD is the file descriptor on which a keeper gets its folder's lock.
const lockFD = 3

// revive starts a keeper for a folder without one. The lock is taken here and goes over to the keeper,
// so of many who try one succeeds. It reports nothing: what it could not do is seen, and done, by
// whoever looks at the folder next.
func (p *Provider) revive(dir string) {
	lock, ok, err := tryLock(dir)
	if err != nil || !ok {
		return
	}
	defer lock.Close()
	s, err := readState(dir)
	if err != nil || s.Phase == phaseEnded {
		return
	}
	if s.Phase != phaseNone && s.Phase != phaseLost { // else it would look like running while it is ended
		s.Phase = phaseLost
		_ = writeJSON(filepath.Join(dir, "state.json"), s, false)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	log, err := os.OpenFile(filepath.Join(dir, keeperLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		log = null // a full disk must not keep an instance from being ended
	} else {
		defer log.Close()
	}
	// Not os.StartProcess: a keeper is awaited by number, without a thread or goroutine waiting for each.
	pid, err := syscall.ForkExec(selfExe, []string{os.Args[0], KeeperCommand, dir}, &syscall.ProcAttr{
		Dir:   dir,
		Env:   []string{"PATH=" + p.opts.Path, "GOMAXPROCS=2"},
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd(), lock.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return
	}
	p.mu.Lock()
	p.keepers[pid] = true
	p.mu.Unlock()
}

// await collects the exits of keepers that are this process's children, so that they do not stay as
// zombies for longer than until the next call.
func (p *Provider) await() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pid := range p.keepers {
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == pid || err == unix.ECHILD {
			delete(p.keepers, pid)
		}
	}
}

// keeperLog is what keepers have to say, in their instance's folder. It is empty as long as all is well.
const (
	keeperLog      = "keeper.log"
	keeperBytesMax = 1 << 20
)

// boundLog puts a keeper's own log aside once it is large: one that can't write its state says so each second,
// for as long as that lasts. Only the keeper in charge may: another one still writes to what is moved. What can't be
// done is left, for no log is worth an instance.
func boundLog(dir string) {
	said, err := os.Stderr.Stat()
	if err != nil || said.Size() < keeperBytesMax {
		return
	}
	path := filepath.Join(dir, keeperLog)
	is := func(name string) bool {
		info, err := os.Stat(name)
		return err == nil && os.SameFile(said, info)
	}
	next := path // if this one's log was put aside by another
	switch {
	case is(path):
		next = path + ".new"
	case !is(path + ".1"):
		return // somebody started it by hand
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600) // before anything is moved: the disk may be full
	if err != nil {
		return
	}
	defer f.Close()
	if next != path && (os.Rename(path, path+".1") != nil || os.Rename(next, path) != nil) {
		_ = os.Remove(next)
		return
	}
	for fd := 1; fd <= 2; fd++ { // its standard output and error, as it was started with
		_ = unix.Dup3(int(f.Fd()), fd, 0)
	}
}

// wake tells a folder's keeper that its end is wanted. Without a keeper, or with one that is only
// starting, there is no reader; such a one looks for terminate.json by itself.
func wake(dir string) {
	fd, err := unix.Open(filepath.Join(dir, "wake"), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte{'T'})
	_ = unix.Close(fd)
}
