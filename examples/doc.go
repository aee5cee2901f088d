// Package examples carries the example files that epud dev starts with. It has no code: the folders
// beside it are for reading, and every file in them is parsed by a test.
package examples
