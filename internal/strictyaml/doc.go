// Package strictyaml reads YAML files the way operators need them read: every key is known or refused
// with a suggestion, every value carries its file and line, a duration has a unit, and all problems of
// all files come out of one run.
//
//	bytes -> Documents -> Map -> Value -> a Go value, or a Problem in the Log
//
// It knows nothing of pools, sites or settings: internal/resource and internal/config ask it for what
// they expect, and what nobody asked for is an unknown key. Aliases are refused, because a value has one
// place, and because they are how a small file becomes a huge one.
//
// Start reading at problem.go, then document.go and value.go; units.go has the scalar forms that files,
// flags and environment variables share.
package strictyaml
