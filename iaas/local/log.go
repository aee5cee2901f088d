package local

import (
	"errors"
	"os"
)

// cappedLog is a file that is put aside when half of its bound is reached, so that the two together
// keep the newest output. It never fails: a full disk must not stall the program that writes.
type cappedLog struct {
	path string
	half int64
	file *os.File
	size int64
}

// Write implements io.Writer.
func (l *cappedLog) Write(b []byte) (int, error) {
	if l.file != nil && l.size+int64(len(b)) > l.half {
		_ = l.Close()
		_ = os.Rename(l.path, l.path+".1")
	}
	if l.file == nil {
		f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return len(b), nil
		}
		l.file, l.size = f, 0
	}
	n, _ := l.file.Write(b)
	l.size += int64(n)
	return len(b), nil
}

// Close closes the file; a later Write opens it again.
func (l *cappedLog) Close() error {
	f := l.file
	l.file = nil
	if f == nil {
		return errors.New("not open")
	}
	return f.Close()
}
