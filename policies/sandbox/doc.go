// Package sandbox is Lua without reach: the globals, libraries and values that a policy may use, each
// bounded, repeatable, and unable to change what belongs to the host. It knows neither decisions nor
// snapshots. A Meter limits time; Budget is one.
//
//	source --> Rewrite --> compiled code --> NewState(Meter) --> only what NewShared put there
//
// What bounds a script, and what does not:
//
//   - Instructions and time: the Meter, which gopher-lua asks before every instruction. No function here
//     loops without charging the Meter first. Instructions of the VM that can be slow themselves (the length
//     of a list with a long end of nils, sums and comparisons of long texts) are bounded by the clock only.
//   - Texts: every function that makes one, the operator ".." included (Rewrite turns it into a call),
//     charges its length first, so texts are bounded exactly.
//   - Regular expressions: linear time, and subject times program is bounded and charged.
//   - Stacks: gopher-lua's own limits.
//   - Tables: by time only. A store costs an instruction and allocates a few dozen bytes, so a loop that
//     fills tables for the whole deadline makes some tens of megabytes; the Meter also watches the heap.
//
// Start reading at sandbox.go.
package sandbox
