//go:build linux

package local_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu/iaas/local"
)

// worker is the program of the tests' instances. It says on stdout when it is ready.
func worker(args []string) {
	var err error
	switch args[0] {
	case "idle": // until it is told to end
	case "once": // notes its start in a file and holds a lock that only one may hold
		if err = startOnce(args[1] + os.Getenv(local.EnvInstance)); err == nil {
			away := exec.Command("/bin/sleep", "1000000") // a descendant that the program's death does not end
			away.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			err = away.Start()
		}
	case "stubborn": // only SIGKILL ends it
		signal.Notify(make(chan os.Signal, 1), unix.SIGTERM)
	case "exit": // ends as told
		fmt.Println("about to end")
		code, _ := strconv.Atoi(args[1])
		os.Exit(code)
	case "suicide":
		err = unix.Kill(os.Getpid(), unix.SIGKILL)
	case "family": // leaves children of every kind behind, which share a lock on a file
		err = family(args[1])
	case "child": // lives and keeps its inherited files open
	case "forked": // makes an orphan in a session of its own
		err = child(args[1] == "bare", true, "child").Start()
		fmt.Println(err)
		os.Exit(0)
	case "flood":
		for i := range 5000 {
			fmt.Println("line", i, strings.Repeat("x", 80))
		}
		fmt.Println("the last line")
	case "describe":
		err = describe()
	}
	fmt.Println("ready", err)
	for { // not select{}, which the runtime takes for a deadlock
		_, _ = unix.Poll(nil, -1)
	}
}

func startOnce(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_, _ = fmt.Fprintln(f, "doubled")
		return err
	}
	_, err = fmt.Fprintln(f, "started", os.Getenv(local.EnvInstance))
	unix.CloseOnExec(int(f.Fd()))
	held = f
	return err
}

var held *os.File // the lock of startOnce, out of the collector's reach

func child(bare, session bool, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{"worker"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "alive")}
	if bare {
		cmd.Env = []string{"PATH=/nowhere"}
	}
	return cmd
}

// family starts a plain child, one in its own session, and orphans with and without environment.
func family(alive string) error {
	f, err := os.OpenFile(alive, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if f.Fd() != 3 {
		if err := unix.Dup3(int(f.Fd()), 3, 0); err != nil {
			return err
		}
		unix.CloseOnExec(int(f.Fd()))
	}
	kinds := []*exec.Cmd{
		child(false, false, "child"), child(false, true, "child"), child(false, false, "forked", "dressed"),
	}
	if len(os.Args) > 4 && os.Args[4] == "bare" {
		kinds = append(kinds, child(true, true, "child"), child(true, false, "forked", "bare"))
	}
	for _, cmd := range kinds {
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it has got somewhere
			return err
		}
	}
	return nil
}

func describe() error {
	fmt.Println("dir", func() string { d, _ := os.Getwd(); return d }())
	for _, e := range os.Environ() {
		fmt.Println("env", e)
	}
	data, err := os.ReadFile(os.Getenv(local.EnvUserData))
	fmt.Println("data", string(data))
	flags, _ := unix.FcntlInt(1, unix.F_GETFL, 0)
	fmt.Println("blocking", flags&unix.O_NONBLOCK == 0)
	sid, _ := unix.Getsid(0)
	fmt.Println("leader", sid == os.Getpid() && unix.Getpgrp() == os.Getpid())
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/dev/") && !strings.HasPrefix(to, "/proc/") && !strings.HasPrefix(to, "/sys/") {
			fmt.Println("leaked", to)
		}
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "SigIgn") {
			fmt.Print(line)
		}
	}
	return err
}
