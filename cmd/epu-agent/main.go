// Command epu-agent looks after a worker machine. See docs/reference/epu-agent.md.
package main

import (
	"os"

	"github.com/nimbus-epu/epu/internal/agent"
)

func main() {
	os.Exit(agent.Main(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
