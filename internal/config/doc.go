// Package config reads the settings of programs: a node's epud.yaml and a client's config.yaml. It is
// the only importer of viper.
//
//	flag > EPU_ environment > file > default  ->  one checked, immutable struct + where each value came from
//
// One table per program (nodekeys.go, clientkeys.go) has every key with its default, unit, range and
// meaning. Flags, environment variables, the reference under docs/reference and the commented example
// files all follow from it, and tests fail when one of them is stale.
//
// Viper keeps the layers and fills the struct; it does not read files, parse values or look at the
// environment, because it would accept misspelt keys, take `5` for five nanoseconds, forget nested
// variables that have no default and fold the case of keys. internal/strictyaml reads the file, and one
// parser per kind of value (kinds.go) serves file, flag and environment alike.
//
// Every problem of a run comes back in one *Error. Pools, sites and deployable types are not settings:
// see internal/resource. Start reading at node.go.
package config
