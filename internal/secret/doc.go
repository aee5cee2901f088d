// Package secret reads secrets where they are needed: a configuration names a place, an environment
// variable or a file, and the secret itself is neither stored, logged nor shown. It does not keep what
// it reads, so a file that is replaced counts at once.
package secret
