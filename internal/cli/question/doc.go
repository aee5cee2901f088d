// Package question has the commands that ask what a pool's policy would decide: with other readings or settings, line by
// line on a snapshot, and with a candidate beside it for a while. None of them makes a pool do anything.
package question
