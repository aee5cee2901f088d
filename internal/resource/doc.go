// Package resource reads and writes the files of pools, sites and deployable types.
//
//	files -> Parse -> Set of specs + every problem      specs -> Format -> files
//	pool + type + placement -> Resolve -> what a site launches
//	two specs -> Diff -> what `plan` shows
//
// A file holds one or more YAML documents, each with `schema: epu/v1` and a `kind`. Parse fills in the
// documented defaults, checks each document by itself and all of them together with what the
// installation already has, and reports every problem with file, line and a suggestion. Keys that belong
// to the format but have no effect yet are refused by name: a guard rail that is silently ignored is
// worse than none.
//
// Variables. A deployable type declares them; its defaults are overridden by the pool's values, those by
// what a policy asks for. Every variable with a value reaches the program's environment under its name.
// In image, args and agent.run, `${NAME}` becomes the value and `$$` one dollar. A variable that is
// `from` somewhere is a secret: it stays a reference until the machine needs it, and naming one in image,
// args or agent.run is refused, because arguments show in every process list. So a resolved launch never
// holds a secret, nor anything that is left to substitute.
//
// Programs. An image, or the first word of a command that the file names, that begins with ./ or ../ is meant from the folder
// of its file, and becomes an absolute path when the file is read.
//
// Sensors. A sensor has the fields of its source and no others: sourceFields is the one table of them, which
// reading, writing and refusing follow. Headers that carry secrets are references, as variables are.
//
// The package is pure: no file, clock, environment or network. Start reading at parse.go, then pool.go with
// sensor.go, site.go and deployabletype.go; check.go has what spans several documents.
package resource
