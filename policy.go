package epu

import "time"

// PolicyFile is one source file of a policy.
type PolicyFile struct {
	Path string `json:"path"` // relative to the folder of policies, with slashes
	Text string `json:"text"`
}

// PolicyOrigin says how a version of a policy came to be in force.
type PolicyOrigin string

// The origins.
const (
	PolicyApplied PolicyOrigin = "applied"  // an operator applied it
	PolicyFolder  PolicyOrigin = "folder"   // it stood in the node's folder of policies
	PolicyBuiltIn PolicyOrigin = "built in" // it came with the node's program
)

// PolicyVersion is a policy as it once was: all of its sources, whatever becomes of the files they came from.
// It is immutable and shared.
type PolicyVersion struct {
	Name   string       `json:"name"`
	Hash   string       `json:"hash"`  // first 12 hex digits of the SHA-256 over all its files
	Files  []PolicyFile `json:"files"` // the policy itself first, then what it requires
	Origin PolicyOrigin `json:"origin"`
	Time   time.Time    `json:"time"` // when it was last applied, or first replaced
	By     string       `json:"by,omitempty"`
}

// PolicyVersions are the versions of one policy that are kept. It is immutable and shared.
type PolicyVersions struct {
	// Current is the hash of the version in force for pools that pin none; empty = what the node's library
	// has, which is its folder of policies and, behind it, the built-in ones.
	Current string          `json:"current,omitempty"`
	Kept    []PolicyVersion `json:"kept,omitempty"` // newest first
}
