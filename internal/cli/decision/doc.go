// Package decision puts decisions into words for people: what a policy saw, and why it wants what it wants. The commands
// that show decisions lay the words out.
package decision
