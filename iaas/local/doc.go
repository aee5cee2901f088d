// Package local is a cloud of processes on one machine. It is what `epud dev` runs its workers on, and
// what small installations use for real; Linux only.
//
// An instance is a folder and a keeper. The keeper is a small process (the same binary, started again
// with KeeperCommand) in a session of its own; it holds an exclusive lock on the folder for as long as
// it lives, starts the program, keeps its output, ends it and everything that came from it, and writes
// down how it ended.
//
//	<dir>/launches/<hash of token>/launch.json      the request: appears whole, by one rename
//	                              /0/secrets.json   its secret variables, until the program has been started
//	                              /0/lock           held by the keeper = the instance is alive
//	                              /0/state.json     starting, running, ended: written only under the lock
//	                              /0/terminate.json its end has been asked for
//	                              /0/wake           a pipe: look at terminate.json now
//	                              /0/work           where the program runs
//	                              /0/stdout.log     its newest output, and stderr.log
//	     /addresses/127.x.y.z                       which instance has the address
//	     /spent/<hash of token>                     tokens whose folders are gone
//
// Why nothing is lost or doubled when any process is killed at any moment:
//
//   - A launch is one rename, so it is there whole or not at all, and a token's second launch finds it.
//   - Only who holds the lock changes state.json, and "starting" is durable before the program is
//     started: so it is started at most once, whoever asks how often. The lock is taken before the keeper is
//     started and goes over to it, so there is no moment in between.
//   - A folder that has not ended and whose lock is free has lost its keeper. Whoever notices (Launch,
//     List, Terminate) starts a new one, which starts the program if it never was started, and else
//     ends what is left of it.
//   - While the keeper lives, everything the program started is its descendant, whatever it did to hide
//     (the keeper is a subreaper), and it does not go before all of it has. If the keeper is killed, the
//     kernel kills the program; what else is left is in the instance's cgroup, where one could be made,
//     and has a mark of the folder in its environment. No process ID is ever kept and trusted: they
//     are reused.
//
// A program that daemonizes (its first process ends) has ended. Without cgroups, descendants that
// cleared their environment outlive a keeper that was killed with SIGKILL; nothing outlives one that was
// not. Instances outlive the daemon; a service manager that ends all of a service's processes with it
// (systemd does, unless KillMode=process) ends them too.
//
// Programs run as the daemon's user and could change its folders: they are trusted.
//
// Start reading at provider.go, then keeper.go.
package local
