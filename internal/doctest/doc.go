// Package doctest keeps README.md and docs/ true. A page added there falls under these checks by itself:
//
//	links     every relative link leads to a file and every #anchor to a heading;
//	          every page can be reached from docs/index.md
//	console   lines that begin with "$ ": programs of this project are checked against their real
//	          commands, flags and number of arguments, make against the targets of the Makefile
//	yaml      documents with `schema: epu/v1` are read like `epumgmt apply` reads them, together with
//	          those above them on the page, and with the sample of `epud dev` once the page runs that;
//	          `yaml fragment` only has to be YAML
//	lua       policies are loaded like the daemon loads them
//	json, go  are parsed
//	text      is not checked: pictures and output
//
// Any other kind of block is refused, so nothing escapes unseen. The files in examples/ are read in the
// same way. What a command does is for the tests of its program to show. Start reading at page.go.
package doctest
