package examples

import "embed"

// Sleeper is the folder of the sleeper example: a site, a deployable type, a pool and a worker.
//
//go:embed sleeper
var Sleeper embed.FS

// SleeperQueue is the files of the sleeper-queue example, in a folder of that name: a site, a deployable
// type and a pool. The program beside them is Go source.
//
//go:embed sleeper-queue/*.yaml
var SleeperQueue embed.FS
