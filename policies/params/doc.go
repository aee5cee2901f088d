// Package params holds what policies declare about their configuration, and checks configurations
// against it: names old and new, types, ranges, defaults. It knows no Lua.
//
//	conf from a file --> Set.Check --> every key in one form, or every problem at once
//
// Start reading at param.go.
package params
