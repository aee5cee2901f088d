// Package child starts programs as children of this process and looks after them to the end: each has
// its own process group, its output passes through in whole lines, the tail of its standard error is
// kept, and nothing of it is left behind as a zombie.
//
//	Set.Start ──▶ Process ──▶ Signal (to the whole group) ──▶ Wait ──▶ Exit{status, signal, tail}
//
// On Linux a child is killed by the kernel when this process dies (see internal/process), and a Set may adopt orphans: what a
// program left behind outside its group then comes to this process, is reaped, and is ended with it.
// It holds no policy: when to start, restart or end a program is decided by its caller.
//
// Start reading at child.go.
package child
