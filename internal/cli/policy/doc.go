// Package policy has the commands `epumgmt policy ...`: what an author of policies uses, mostly without a node. It
// finds policies in files, in a folder of one's own and among the built-in ones, and leaves everything that
// is known about them to policies and the packages below it.
//
//	list, doc            what there is and what it takes
//	new, check, test     make one, have it checked, try it on scenarios
//	simulate             run it over a workload on virtual time, and draw what became of it
//	apply, rollback      have a node put a version of it in force, for every pool that uses it
//	versions             what a node keeps
//
// Start reading at command.go.
package policy
