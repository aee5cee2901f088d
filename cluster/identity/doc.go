// Package identity makes and verifies the tokens with which workers show who they are. A token is a
// signed sentence, not a secret key: any node that holds the installation's signing key verifies it
// without asking anybody.
//
//	launch ── user data: bootstrap token ──▶ agent ── check-in ──▶ worker token, one per slot ──▶ beats
//
// A bootstrap token speaks for a launch and is good for check-in only; a worker token speaks for one
// slot. Neither expires: whether a worker still counts is its pool's knowledge, and a node answers 410
// when it does not. Tokens are never logged; errors of Verify don't repeat them.
//
// Certificates of nodes and operators are not made here. Start with Signer in signer.go; the key's file
// is in keyfile.go.
package identity
