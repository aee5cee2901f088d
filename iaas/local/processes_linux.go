package local

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
)

// endDescendants kills everything that descends from this process, a subreaper, and returns when
// nothing is left. It signals only direct children: their IDs can't be reused before they are awaited
// here. Whoever loses its parent becomes a direct child in turn, however it had hidden.
func endDescendants() {
	for {
		killed := 0
		for _, pid := range children() {
			if unix.Kill(pid, unix.SIGKILL) == nil {
				killed++
			}
		}
		// Without a child that was just killed there is nothing to block for: either there are no
		// children at all, or one came after the look and is killed in the next round.
		options := 0
		if killed == 0 {
			options = unix.WNOHANG
		}
		if _, err := unix.Wait4(-1, nil, options, nil); err == unix.ECHILD {
			return
		}
	}
}

// children lists this process's direct children, zombies included.
func children() []int {
	paths, _ := filepath.Glob("/proc/self/task/*/children")
	var pids []int
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that just ended; its children are another thread's now
		}
		for _, word := range bytes.Fields(b) {
			if pid, err := strconv.Atoi(string(word)); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	if len(paths) > 0 {
		return pids
	}
	return childrenByStat() // a kernel without CONFIG_PROC_CHILDREN
}

func childrenByStat() []int {
	var pids []int
	self := strconv.Itoa(os.Getpid())
	for _, pid := range allProcesses() {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid: the name may contain anything, even ") R 1".
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == self {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endLeftovers kills every process that has the instance in its environment, and returns when none is
// left. It is for what a killed keeper left behind, which descends from nobody we know.
func endLeftovers(id epu.InstanceID) {
	for clean := 0; clean < 2; { // twice: a fork can slip past one look through all processes
		found := leftovers(id)
		if len(found) == 0 {
			clean++
			continue
		}
		clean = 0
		for _, pid := range found {
			endOne(pid, id)
		}
	}
}

// endOne pins a process before it looks at it again: from then on the descriptor means that process
// or none, whatever becomes of its number.
func endOne(pid int, id epu.InstanceID) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if !marked(pid, id) || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return
	}
	for { // until it has ended
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return
		}
	}
}

func leftovers(id epu.InstanceID) []int {
	var pids []int
	for _, pid := range allProcesses() {
		if pid != os.Getpid() && marked(pid, id) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// marked reports that a living process was started with the instance in its environment. What can't
// be read belongs to somebody else; a zombie's environment is empty.
func marked(pid int, id epu.InstanceID) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	mark := []byte(EnvInstance + "=" + string(id))
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(entry, mark) {
			return true
		}
	}
	return false
}

func allProcesses() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
