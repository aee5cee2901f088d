// Package reference writes the Markdown reference of a program from its commands, so that what the page
// says is what --help says. It describes and runs nothing.
package reference
