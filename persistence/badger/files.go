package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bdg "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// checkFiles looks for damage in a database's files before Badger sees them, and changes nothing but
// for empty files that a killed process left. acknowledged is the commit that the witness names. An
// error means that the files can't be read now.
func checkFiles(folder string, acknowledged uint64) ([]Problem, error) {
	entries, err := os.ReadDir(folder)
	if missing(err) && acknowledged == 0 {
		return nil, nil // a store that is about to be born
	}
	if missing(err) {
		return []Problem{{dbFolder, "the folder is missing"}}, nil
	}
	if err != nil {
		return nil, err
	}
	var tables, logs []string
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		ext := filepath.Ext(e.Name())
		if info, err := e.Info(); err == nil && info.Size() == 0 && (ext == logExt || ext == ".vlog" || ext == ".sst") {
			// Killed between making a file and sizing it, or between emptying and removing it. Badger
			// refuses to open then. Nothing that was acknowledged is in such a file; one that was emptied
			// later is found missing by what its content should have been.
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		switch ext {
		case ".sst":
			tables = append(tables, e.Name())
		case logExt:
			logs = append(logs, e.Name())
		}
	}
	listed, problems := checkManifest(folder, tables, len(logs) > 0 || acknowledged > 0)
	reg, err := bdg.OpenKeyRegistry(bdg.KeyRegistryOptions{Dir: folder, ReadOnly: true})
	switch {
	case err == nil:
		err = reg.Close()
	case missing(err):
		err = nil
	default:
		problems = append(problems, Problem{"db/KEYREGISTRY", err.Error()})
		err = nil
	}
	if err != nil {
		return nil, err
	}
	var newest uint64
	for _, name := range listed {
		err := mapped(filepath.Join(folder, name), func(b []byte) error {
			if err := checkTable(b); err != nil {
				return err
			}
			n, err := newestCommit(b)
			newest = max(newest, n)
			return err
		})
		if err != nil {
			problems = append(problems, Problem{"db/" + name, err.Error()})
		}
	}
	slices.Sort(logs)
	return append(problems, checkLogs(folder, logs, newest, acknowledged)...), nil
}

// standIn makes a folder that stands for a database: logs, lists and empty files are copied, and tables, which
// are never written again, are linked. Opened with standInOptions it is free to be changed. remove ends it.
func standIn(folder string) (path string, remove func(), err error) {
	entries, err := os.ReadDir(folder)
	if missing(err) {
		return folder, func() {}, nil // that it is missing is a finding of its own
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return "", nil, err
	}
	if path, err = os.MkdirTemp("", "epu-journal-*"); err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(path) } // it leaves what links lead to
	for _, e := range entries {
		from, to := filepath.Join(folder, e.Name()), filepath.Join(path, e.Name())
		info, err := e.Info()
		switch {
		case err != nil:
		case filepath.Ext(e.Name()) == ".sst" && info.Size() > 0:
			err = os.Symlink(from, to)
		case info.Mode().IsRegular():
			err = copyFile(from, to)
		}
		if err != nil {
			remove()
			return "", nil, err
		}
	}
	return path, remove, nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// standInOptions open a stand-in. Nothing is ever merged: Badger empties tables that it has merged, and these are
// the store's own.
func standInOptions(folder string) bdg.Options {
	return badgerOptions(folder, Options{}.withDefaults()).WithNumCompactors(0).WithNumLevelZeroTablesStall(math.MaxInt)
}

// checkManifest holds the list of tables against those that are there and gives those that are both.
// Badger deletes a table that is not listed: a killed process was writing it, and its content is still
// in a log. But it would also make a new list when there is none, and then delete every table.
func checkManifest(folder string, tables []string, used bool) (listed []string, problems []Problem) {
	f, err := os.Open(filepath.Join(folder, bdg.ManifestFilename))
	if missing(err) {
		if used || len(tables) > 0 {
			problems = append(problems, Problem{"db/MANIFEST", "the file is missing"})
		}
		return nil, problems
	}
	if err != nil {
		return nil, []Problem{{"db/MANIFEST", err.Error()}}
	}
	defer f.Close()
	m, _, err := bdg.ReplayManifestFile(f, 0, bdg.DefaultOptions(folder))
	if err != nil {
		return tables, []Problem{{"db/MANIFEST", err.Error()}}
	}
	for id := range m.Tables {
		name := table.IDToFilename(id)
		if slices.Contains(tables, name) {
			listed = append(listed, name)
		} else {
			problems = append(problems, Problem{"db/" + name, "the table is missing"})
		}
	}
	slices.Sort(listed)
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Where, b.Where) })
	return listed, problems
}

// mapped gives a file's content to check without reading it into memory at once.
func mapped(path string, check func([]byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return errors.New("the file is empty")
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return errors.Join(check(data), unix.Munmap(data))
}

var errShort = errors.New("the file is cut short or its footer is damaged")

// checkTable verifies a table's index and every block:
//
//	block... | index | index length u32 | checksum of the index | its length u32
//	block = data | checksum of the data | its length u32
func checkTable(data []byte) error {
	rest, sum, err := cutChecksum(data)
	if err != nil {
		return err
	}
	if len(rest) < 4 {
		return errShort
	}
	indexLen := int(binary.BigEndian.Uint32(rest[len(rest)-4:]))
	rest = rest[:len(rest)-4]
	if indexLen < 8 || indexLen > len(rest) {
		return errShort
	}
	if err := sameChecksum(rest[len(rest)-indexLen:], sum); err != nil {
		return fmt.Errorf("the table's index: %w", err)
	}
	index := fb.GetRootAsTableIndex(rest[len(rest)-indexLen:], 0)
	blocks := rest[:len(rest)-indexLen]
	var at fb.BlockOffset
	n := index.OffsetsLength()
	if n == 0 {
		return errors.New("the table's index is empty")
	}
	for i := range n {
		if !index.Offsets(&at, i) || uint64(at.Offset())+uint64(at.Len()) > uint64(len(blocks)) {
			return fmt.Errorf("block %d of %d lies outside the file", i+1, n)
		}
		block, sum, err := cutChecksum(blocks[at.Offset():][:at.Len()])
		if err == nil {
			err = sameChecksum(block, sum)
		}
		if err != nil {
			return fmt.Errorf("block %d of %d at byte %d: %w", i+1, n, at.Offset(), err)
		}
	}
	return nil
}

// newestCommit is the number of the newest commit in a table that is sound; 0 if it holds none that can
// be read, which verify finds.
func newestCommit(data []byte) (uint64, error) {
	t, err := table.OpenInMemoryTable(data, 0, &table.Options{})
	if err != nil {
		return 0, err
	}
	it := t.NewIterator(table.NOCACHE)
	var c commit
	it.Seek(y.KeyWithTs([]byte(keyCommit), math.MaxUint64)) // newer versions of a key come first
	if it.Valid() && string(y.ParseKey(it.Key())) == keyCommit {
		c, _ = decodeCommit(it.Value().Value)
	}
	return c.n, errors.Join(it.Close(), t.DecrRef())
}

// cutChecksum takes the checksum and its length off the end.
func cutChecksum(data []byte) ([]byte, *pb.Checksum, error) {
	if len(data) < 4 {
		return nil, nil, errShort
	}
	n := int(binary.BigEndian.Uint32(data[len(data)-4:]))
	data = data[:len(data)-4]
	if n > len(data) {
		return nil, nil, errShort
	}
	sum := new(pb.Checksum)
	if err := proto.Unmarshal(data[len(data)-n:], sum); err != nil {
		return nil, nil, errShort
	}
	return data[:len(data)-n], sum, nil
}

func sameChecksum(data []byte, sum *pb.Checksum) error {
	if sum.Algo != pb.Checksum_CRC32C && sum.Algo != pb.Checksum_XXHash64 {
		return errShort
	}
	if y.CalculateChecksum(data, sum.Algo) != sum.Sum {
		return errors.New("the checksum does not fit")
	}
	return nil
}

// checkLogs reads Badger's write-ahead logs as Badger will. Bytes behind the last whole transaction
// are either what a killed process was writing, which nobody was told of, or what is left behind
// damage. The witness tells which, in the newest log; the older ones were complete. newest is the newest
// commit in the tables: a log that was begun after a start or a flush may have none yet.
func checkLogs(folder string, names []string, newest, acknowledged uint64) []Problem {
	var problems []Problem
	for i, name := range names {
		var found logScan
		err := mapped(filepath.Join(folder, name), func(b []byte) error {
			found = scanLog(b)
			return nil
		})
		newest = max(newest, found.commit)
		lost := ""
		switch {
		case err != nil:
			lost = err.Error()
		case !found.clean && i < len(names)-1:
			lost = "what follows is lost"
		case !found.clean && newest < acknowledged:
			lost = fmt.Sprintf("commits after number %d are lost, number %d was acknowledged", newest, acknowledged)
		default:
			continue
		}
		problems = append(problems, Problem{"db/" + name, fmt.Sprintf("the write-ahead log is damaged at byte %d: %s", found.end, lost)})
	}
	return problems
}

// logScan is what a write-ahead log holds up to its last whole transaction.
type logScan struct {
	end    int    // where that transaction ends
	commit uint64 // number of the newest commit in it; 0 = none
	clean  bool   // only zeros follow
}

// The names and marks of Badger's write-ahead logs.
const (
	logExt    = ".mem"
	logHeader = 20
	markTxn   = 1 << 6
	markEnd   = 1 << 7
)

// scanLog follows entries of the form
//
//	marks u8 | user marks u8 | key length | value length | expiry (varints) | key | value | CRC-32C u32
//
// where the entries of a transaction are followed by one that ends it.
func scanLog(b []byte) logScan {
	s := logScan{end: min(logHeader, len(b))}
	var pending uint64
	for at := s.end; ; {
		marks, key, value, n := logEntry(b[at:])
		if n == 0 {
			break
		}
		at += n
		if len(key) > 8 && string(key[:len(key)-8]) == keyCommit {
			if c, err := decodeCommit(value); err == nil {
				pending = c.n
			}
		}
		if marks&markTxn == 0 {
			s.end, s.commit, pending = at, max(s.commit, pending), 0
		}
	}
	s.clean = len(bytes.TrimLeft(b[s.end:], "\x00")) == 0
	return s
}

// logEntry reads one entry; n is 0 if there is no whole one.
func logEntry(b []byte) (marks byte, key, value []byte, n int) {
	if len(b) < 2 || (b[0] == 0 && b[1] == 0 && b[min(2, len(b)-1)] == 0) {
		return 0, nil, nil, 0
	}
	at := 2
	var nums [3]uint64
	for i := range nums {
		v, used := binary.Uvarint(b[at:])
		if used <= 0 {
			return 0, nil, nil, 0
		}
		nums[i], at = v, at+used
	}
	size := uint64(len(b) - at)
	if nums[0] > 1<<16 || nums[1] > size || nums[0]+nums[1]+4 > size {
		return 0, nil, nil, 0
	}
	key = b[at:][:nums[0]]
	value = b[at+int(nums[0]):][:nums[1]]
	at += int(nums[0] + nums[1])
	if y.CalculateChecksum(b[:at], pb.Checksum_CRC32C) != uint64(binary.BigEndian.Uint32(b[at:])) {
		return 0, nil, nil, 0
	}
	return b[0], key, value, at + 4
}
