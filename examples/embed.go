package examples

import "embed"

// Sleeper is the folder of the sleeper example: a site, a deployable type, a pool and a worker.
//
//go:embed sleeper
var Sleeper embed.FS
