package scripts

import (
	"embed"
	"io/fs"
)

//go:embed policies
var files embed.FS

// Policies is the folder of the stock policies, their tests and the files they share.
func Policies() fs.FS {
	sub, err := fs.Sub(files, "policies")
	if err != nil {
		panic("scripts: " + err.Error()) // only for a name that is no path
	}
	return sub
}
