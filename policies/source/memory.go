package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
)

// Digest tells sources apart: what the same sources give need not be found out again.
func Digest(files []epu.PolicyFile) string {
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%d %s %d %s\n", len(f.Path), f.Path, len(f.Text), f.Text)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// FS is a folder of policies that holds these files and nothing else. It has files to be opened by their
// path, and no listing.
func FS(files []epu.PolicyFile) fs.FS {
	out := memory{}
	for _, f := range files {
		out[f.Path] = f.Text
	}
	return out
}

type memory map[string]string

// Open opens a file.
func (m memory) Open(name string) (fs.File, error) {
	text, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memoryFile{Reader: strings.NewReader(text), path: name}, nil
}

// memoryFile is an open file, and what is known of it.
type memoryFile struct {
	*strings.Reader
	path string
}

// Stat gives the file's size and name; it has no time and can be read only.
func (f *memoryFile) Stat() (fs.FileInfo, error) { return f, nil }

// Close has nothing to close.
func (f *memoryFile) Close() error { return nil }

// Name is the last part of the path.
func (f *memoryFile) Name() string { return f.path[strings.LastIndexByte(f.path, '/')+1:] }

// Mode says that the file can be read.
func (f *memoryFile) Mode() fs.FileMode { return 0o444 }

// ModTime is not known.
func (f *memoryFile) ModTime() time.Time { return time.Time{} }

// IsDir is false.
func (f *memoryFile) IsDir() bool { return false }

// Sys has nothing.
func (f *memoryFile) Sys() any { return nil }
