// Package sandbox is Lua without reach: the globals, libraries and values that a policy may use, each
// bounded, repeatable, and unable to change what belongs to the host. It knows neither decisions nor
// snapshots. A Meter limits time; Budget is one.
//
//	source --> Rewrite --> compiled code --> NewState(Meter) --> only what NewShared put there
//
// What bounds a script, and what does not:
//
//   - Instructions and time: the Meter, which gopher-lua asks before every instruction. No function here
//     loops without charging the Meter, and what a function charged for may take its time: that much of a
//     gap between two looks at the clock counts, of any other gap no more than a wait for the processor.
//     Instructions of the VM that can be slow themselves (the length of a list with a long end of nils, sums
//     and comparisons of long texts) are bounded by the clock only.
//   - Texts: every function that makes one, the operator ".." included (Rewrite turns it into a call),
//     charges its length first, so texts are bounded exactly.
//   - Regular expressions: linear time, and subject times program is bounded and charged. The program's
//     length is known, bounded and charged before it is made, and what is slow only to be read is refused.
//   - Stacks: gopher-lua's own limits.
//   - Tables and functions: they are weighed (Weigh) once the process has allocated so much that they can be
//     too large. What others allocate makes them be weighed, and nothing else.
//
// Start reading at sandbox.go.
package sandbox
