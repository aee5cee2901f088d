package local

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
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
			pids = append(pids, number(word))
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

// looksMax bounds the looks for leftovers while processes of the machine are in the middle of starting
// a program, which never takes long; looksPause is between them.
const (
	looksMax   = 2000
	looksPause = 2 * time.Millisecond
)

// endLeftovers kills every process that has the mark in its environment, and returns when none is
// left. It is for what a killed keeper left behind, which descends from nobody we know.
func endLeftovers(mark string) {
	pause := time.NewTicker(looksPause)
	defer pause.Stop()
	// Clean twice: a fork can slip past one look through all processes.
	for looks, clean := 0, 0; clean < 2; looks++ {
		found, unsure := leftovers(mark)
		for _, pid := range found {
			endOne(pid, mark)
		}
		switch {
		case len(found) > 0:
			clean = 0
		case unsure && looks < looksMax:
			clean = 0
			<-pause.C
		default:
			clean++
		}
	}
}

// endOne pins a process before it looks at it again: from then on the descriptor means that process
// or none, whatever becomes of its number.
func endOne(pid int, mark string) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if !marked(pid, mark) || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return
	}
	for { // until it has ended
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return
		}
	}
}

// leftovers finds the living processes with a mark. It is unsure if there are some that can't be
// told yet.
func leftovers(mark string) (pids []int, unsure bool) {
	for _, pid := range allProcesses() {
		if pid == os.Getpid() {
			continue
		}
		if marked(pid, mark) {
			pids = append(pids, pid)
		} else if inExec(pid) {
			unsure = true
		}
	}
	return pids, unsure
}

// marked reports that a living process was started with the mark in its environment. What can't
// be read belongs to somebody else; a zombie's environment is empty.
func marked(pid int, mark string) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	want := []byte(envMark + "=" + mark)
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(entry, want) {
			return true
		}
	}
	return false
}

// inExec reports that a process has memory but no environment yet: for a moment in the middle of
// execve neither the old one nor the new one can be seen. Kernel threads and zombies have no memory.
func inExec(pid int) bool {
	const vsize, envEnd = 20, 48 // fields of stat, counted from 0 after the name
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// pid (name) state ...: the name may contain anything, even ") R 1".
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) <= envEnd || string(fields[vsize]) == "0" || string(fields[envEnd]) != "0" {
		return false
	}
	// Zeroes are also what a stranger gets to see.
	env, err := os.Open("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	_ = env.Close()
	return true
}

func number(b []byte) int {
	n, _ := strconv.Atoi(string(b))
	return n
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
