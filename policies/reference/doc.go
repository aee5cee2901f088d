// Package reference writes down what policies can reach, from the tables in which the host registers it:
// types for editors, the settings of luacheck, and the reference page. Nothing in these files is written
// by hand but the examples, which are tried.
package reference
