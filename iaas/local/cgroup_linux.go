package local

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Where this process may make cgroups (version 2) below its own, as root may and users with delegation
// may, each program gets one. Then nothing can hide from a keeper that follows a killed one, not even
// what has cleared its environment. Everything works without.

func cgroupName(mark string) string { return "epu-" + mark }

// makeCgroup gives the path of a new cgroup for an instance, or "" where there can be none.
func makeCgroup(mark string) string {
	path := cgroupPath(mark)
	if path == "" {
		return ""
	}
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return ""
	}
	return path
}

// cgroupPath is where an instance's cgroup would be, or "" on a machine without.
func cgroupPath(mark string) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	var root, below string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			root = f[1]
		}
	}
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			below = strings.TrimSpace(path)
		}
	}
	if root == "" || below == "" || strings.Contains(below, "/..") {
		return ""
	}
	return filepath.Join(root, below, cgroupName(mark))
}

// endCgroup kills everything in an instance's cgroup, returns when it is empty, and removes it. A path
// that is not this instance's own is left alone.
func endCgroup(path string, mark string) {
	if filepath.Base(path) != cgroupName(mark) {
		return
	}
	events, err := os.Open(filepath.Join(path, "cgroup.events"))
	if err != nil {
		return // gone, with a reboot perhaps
	}
	defer events.Close()
	_ = os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0)
	text := make([]byte, 256)
	for {
		n, err := events.ReadAt(text, 0)
		if n == 0 && err != nil || !bytes.Contains(text[:n], []byte("populated 1")) {
			break
		}
		if !exists(filepath.Join(path, "cgroup.kill")) { // before Linux 5.14
			killListed(path)
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, 1000)
	}
	removeCgroup(path)
}

// killListed kills the processes that a cgroup lists now. Each is pinned before it is looked for again.
func killListed(path string) {
	list := func() []byte { b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs")); return b }
	for _, pid := range bytes.Fields(list()) {
		n := number(pid)
		fd, err := unix.PidfdOpen(n, 0)
		if n <= 0 || err != nil {
			continue
		}
		for _, still := range bytes.Fields(list()) {
			if number(still) == n {
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			}
		}
		_ = unix.Close(fd)
	}
}

// removeCgroup removes a cgroup that nothing lives in, and those the program made in it, deepest first.
func removeCgroup(path string) {
	var dirs []string
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		_ = unix.Rmdir(dirs[i])
	}
}
