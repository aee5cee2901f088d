// Package source is what can be known of a policy's file without deciding anything: its compiled code,
// the globals that nobody defines, the parameters that it declares, and names that do not exist on what
// the host gives.
//
//	text --> Compile --> File (code that a budget can bound) --> Declarations (of the table it returns)
//	     \-> Requires, Lint: what can be said from the text alone
//
// Start reading at file.go. The package knows no decisions and runs nothing.
package source
