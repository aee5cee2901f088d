package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
)

// housekeeping is how often a keeper makes sure of what it is normally told or does at once: that its
// end is not wanted, that its folder is there, and that its state is written down.
const housekeeping = 10 * time.Second

// keeper is the process in charge of one instance. It runs on the machine's clock, not on a given
// one: it is a process of its own, and outlives the daemon.
type keeper struct {
	dir    string
	l      *launch
	slot   int
	mark   string // this folder's, and no copy's
	state  state
	secret map[string]string // values of secret variables, until the program has them
	unsaid bool              // the state could not be written down yet
	asked  bool              // its end is wanted
}

// KeeperMain is the whole life of a keeper: the binary was started with KeeperCommand and args. It
// returns the exit code.
func KeeperMain(args []string) int {
	// The kernel kills the program when the thread that started it ends, so this one has to stay.
	runtime.LockOSThread()
	// Caught and dropped rather than ignored: the program would inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "this command is started by a local site for each of its instances; it is not for people")
		return 2
	}
	k, lock, err := open(args[0])
	if k == nil {
		if err != nil {
			fmt.Fprintln(os.Stderr, "keeper of", args[0]+":", err)
			return 1
		}
		return 0
	}
	err = k.run()
	runtime.KeepAlive(lock) // until here the instance is alive; the kernel lets go of it after the exit
	if err != nil {
		fmt.Fprintln(os.Stderr, "keeper of", k.dir+":", err)
		return 1
	}
	return 0
}

// open takes over a folder; k is nil without an error if somebody else has it.
func open(dir string) (k *keeper, lock *os.File, err error) {
	lock, err = inheritLock(dir)
	if err == nil && lock != nil || errors.Is(err, fs.ErrNotExist) {
		boundLog(dir) // nobody else is in charge
	}
	if err != nil || lock == nil {
		return nil, nil, err
	}
	k = &keeper{dir: dir, l: &launch{}}
	if k.slot, err = strconv.Atoi(filepath.Base(dir)); err != nil {
		return nil, nil, err
	}
	if err = readJSON(filepath.Join(filepath.Dir(dir), "launch.json"), k.l); err != nil {
		return nil, nil, err
	}
	if k.slot < 0 || k.slot >= len(k.l.Instances) {
		return nil, nil, fmt.Errorf("the launch has %d instances", len(k.l.Instances))
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(lock.Fd()), &st); err != nil {
		return nil, nil, err
	}
	k.mark = fmt.Sprintf("%s-%x-%x", k.id(), st.Dev, st.Ino)
	k.state, err = readState(dir)
	return k, lock, err
}

// inheritLock finds the lock on its descriptor, or takes it if the keeper was started by hand. The
// descriptor must not go on to the program, whose descendants would keep the lock.
func inheritLock(dir string) (*os.File, error) {
	unix.CloseOnExec(lockFD)
	var got, want unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "lock"), &want); err != nil {
		return nil, err
	}
	if unix.Fstat(lockFD, &got) == nil && got.Ino == want.Ino && got.Dev == want.Dev {
		f := os.NewFile(lockFD, "lock")
		return f, lockFile(f)
	}
	f, _, err := tryLock(dir)
	return f, err
}

// run does what the state asks for, once; every phase but ended leads to ended.
func (k *keeper) run() error {
	switch {
	case k.state.Phase == phaseEnded:
		return nil
	case k.state.Phase != phaseNone:
		if boot := k.state.Boot; boot != "" && boot != bootID() {
			return k.ended(k.reason("the machine was restarted"))
		}
		endCgroup(k.state.Cgroup, k.mark)
		endLeftovers(k.mark)
		return k.ended(k.reason("its keeper was killed"))
	case terminateAsked(k.dir):
		endCgroup(cgroupPath(k.mark), k.mark) // of a keeper that got no further than making it
		return k.ended("terminated before it was started")
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	exits := make(chan os.Signal, 1) // one is enough: each look awaits all who ended
	signal.Notify(exits, unix.SIGCHLD)
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGTERM)
	wakes, err := k.listen()
	if err != nil {
		return err
	}
	if err := writeFile(k.userData(), []byte(k.l.Request.UserData), false); err != nil {
		return err
	}
	if err := readJSON(filepath.Join(k.dir, secretsFile), &k.secret); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	k.state = state{Phase: phaseStarting, Keeper: os.Getpid(), Cgroup: makeCgroup(k.mark), Boot: bootID(), Started: time.Now().UTC()}
	if err := writeJSON(k.stateFile(), k.state, true); err != nil {
		return err // nothing was started, and the next keeper may try again
	}
	logs, err := k.start()
	k.forget()
	if err != nil {
		endCgroup(k.state.Cgroup, k.mark)
		return k.ended("could not be started: " + err.Error())
	}
	k.state.Phase = phaseRunning
	k.unsaid = true
	k.save()
	status := k.watch(exits, ends, wakes)
	endDescendants()
	endCgroup(k.state.Cgroup, k.mark)
	logs()
	return k.ended(k.reason(status))
}

// forget removes the secrets, which no program needs from here any more.
func (k *keeper) forget() {
	k.secret = nil
	_ = os.Remove(filepath.Join(k.dir, secretsFile)) // tried again at the end
}

func (k *keeper) reason(otherwise string) string {
	if k.asked || terminateAsked(k.dir) {
		return "terminated"
	}
	return otherwise
}

// listen opens the pipe through which the end is asked for. Opened for both directions it is never at
// its end, and never blocks who writes.
func (k *keeper) listen() (<-chan struct{}, error) {
	pipe, err := os.OpenFile(filepath.Join(k.dir, "wake"), os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	wakes := make(chan struct{}, 1)
	go func() { // ends with the process
		buf := make([]byte, 64)
		for {
			if _, err := pipe.Read(buf); err != nil {
				return
			}
			select {
			case wakes <- struct{}{}:
			default:
			}
		}
	}()
	return wakes, nil
}

// watch waits for the program's end, and helps it along when it is wanted. It returns how it ended.
func (k *keeper) watch(exits, ends <-chan os.Signal, wakes <-chan struct{}) string {
	var grace <-chan time.Time
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	wanted := terminateAsked(k.dir) // asked for before the pipe was open
	for {
		if wanted && !k.asked {
			k.asked = true
			// The group's first process has not been awaited, so the number is still its own. A stopped
			// process hears the request only when it goes on.
			_ = unix.Kill(-k.state.PID, unix.SIGTERM)
			_ = unix.Kill(-k.state.PID, unix.SIGCONT)
			grace = time.After(k.l.Grace)
		}
		select {
		case <-exits:
			if status, ended := k.awaitExits(); ended {
				return status
			}
		case <-wakes:
			wanted = true
		case <-ends:
			wanted = true
		case <-grace:
			return "terminated"
		case <-tick.C:
			wanted = wanted || terminateAsked(k.dir)
			if !exists(filepath.Join(k.dir, "lock")) {
				return "its folder was removed"
			}
			k.save()
		}
	}
}

// awaitExits awaits every child that has ended, orphans of the program included.
func (k *keeper) awaitExits() (status string, ended bool) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || pid <= 0:
			return status, ended
		case pid == k.state.PID && ws.Signaled():
			status, ended = "signal: "+ws.Signal().String(), true
		case pid == k.state.PID:
			status, ended = "exit status "+strconv.Itoa(ws.ExitStatus()), true
		}
	}
}

// start starts the program. The returned function waits for the rest of its output.
func (k *keeper) start() (logs func(), err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	var copies sync.WaitGroup
	var readers []*os.File
	files := []uintptr{null.Fd()}
	for _, name := range []string{"stdout.log", "stderr.log"} {
		var fds [2]int // not os.Pipe: the program's end must block
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return nil, err
		}
		defer unix.Close(fds[1])
		_ = unix.SetNonblock(fds[0], true)
		r := os.NewFile(uintptr(fds[0]), name)
		files = append(files, uintptr(fds[1]))
		readers = append(readers, r)
		log := &cappedLog{path: filepath.Join(k.dir, name), half: k.l.LogBytes / 2}
		copies.Go(func() { _, _ = io.Copy(log, r); _ = log.Close() })
	}
	k.state.PID, err = k.fork(files)
	return func() {
		for _, r := range readers { // nobody is left to write, unless the pipe was given away
			_ = r.SetReadDeadline(time.Now().Add(time.Second))
		}
		copies.Wait()
	}, err
}

// fork starts the program in its cgroup, if it has one that takes it. An error says that nothing runs.
func (k *keeper) fork(files []uintptr) (pid int, err error) {
	attr := &syscall.ProcAttr{
		Dir: filepath.Join(k.dir, "work"), Env: k.environment(), Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL},
	}
	if k.state.Cgroup != "" {
		if group, err := os.Open(k.state.Cgroup); err == nil {
			defer group.Close()
			attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(group.Fd())
			if pid, err = syscall.ForkExec(k.l.Argv[0], k.l.Argv, attr); err == nil {
				return pid, nil
			}
			attr.Sys.UseCgroupFD = false
		}
	}
	return syscall.ForkExec(k.l.Argv[0], k.l.Argv, attr)
}

// environment is all that the program gets; nothing of the daemon's own goes on.
func (k *keeper) environment() []string {
	in := k.l.Instances[k.slot]
	set := map[string]string{"PATH": k.l.Path, "HOME": filepath.Join(k.dir, "work")}
	for name, v := range k.l.Request.Vars {
		set[name] = v.Value
	}
	for name, value := range k.secret {
		set[name] = value
	}
	set[EnvInstance] = string(k.id())
	set[EnvAddress] = in.Address
	set[EnvUserData] = k.userData()
	set[envMark] = k.mark
	env := make([]string, 0, len(set))
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func (k *keeper) id() epu.InstanceID { return k.l.Instances[k.slot].ID }

func (k *keeper) userData() string { return filepath.Join(k.dir, "user-data") }

func (k *keeper) stateFile() string { return filepath.Join(k.dir, "state.json") }

// save writes the running state down, if that is still to be done.
func (k *keeper) save() {
	if k.unsaid && writeJSON(k.stateFile(), k.state, false) == nil {
		k.unsaid = false
	}
}

// ended writes the end down. It is the last thing a keeper does, and does not give up while there is
// a folder: an end that is known to nobody would be an instance for ever.
func (k *keeper) ended(reason string) error {
	k.forget()
	k.state.Phase, k.state.Ended, k.state.Reason = phaseEnded, time.Now().UTC(), reason
	for {
		err := writeJSON(k.stateFile(), k.state, true)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return err
		}
		boundLog(k.dir)
		fmt.Fprintln(os.Stderr, "write", k.stateFile()+":", err)
		<-time.NewTimer(time.Second).C // disk full or the like
	}
}
