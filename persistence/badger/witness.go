package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nimbus-epu/epu"
)

// The witness is a file of two slots beside the database that names the newest commit. It is written
// after each commit, without waiting for the disk, and synced once a second: so it never claims more
// than the database holds, and lags by at most a second after a loss of power and not at all after a
// killed process. A database that is behind its witness has lost what it acknowledged.
const (
	witnessFile  = "witness"
	slotBytes    = 512 // one sector: a torn write harms one slot only
	slotUsed     = 28  // magic, commit, epoch, checksum
	witnessMagic = "epuwit1\n"
	witnessSync  = time.Second
)

type witness struct {
	f     *os.File
	mu    sync.Mutex // guards dirty
	dirty bool
	stop  chan struct{}
	done  chan struct{}
}

type testimony struct {
	n     uint64
	epoch epu.Epoch
}

func (t testimony) encode() []byte {
	b := make([]byte, 0, slotUsed)
	b = append(b, witnessMagic...)
	b = binary.BigEndian.AppendUint64(b, t.n)
	b = binary.BigEndian.AppendUint64(b, uint64(t.epoch))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeTestimony(b []byte) (testimony, bool) {
	if len(b) < slotUsed || string(b[:8]) != witnessMagic ||
		binary.BigEndian.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli) {
		return testimony{}, false
	}
	return testimony{binary.BigEndian.Uint64(b[8:]), epu.Epoch(binary.BigEndian.Uint64(b[16:]))}, true
}

// readWitness reads the newest testimony; fs.ErrNotExist if there is no file.
func readWitness(dir string) (testimony, error) {
	b, err := os.ReadFile(filepath.Join(dir, witnessFile))
	if err != nil {
		return testimony{}, err
	}
	b = append(b, make([]byte, 2*slotBytes)...)
	one, ok1 := decodeTestimony(b[:slotBytes])
	two, ok2 := decodeTestimony(b[slotBytes : 2*slotBytes])
	switch {
	case !ok1 && !ok2:
		return testimony{}, errors.New("the witness file is damaged")
	case !ok1 || (ok2 && two.n > one.n):
		return two, nil
	}
	return one, nil
}

// createWitness makes a witness that claims nothing, durably, before there is a database to speak of.
func createWitness(dir string) error {
	tmp := filepath.Join(dir, witnessFile+".new")
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	slots := make([]byte, 2*slotBytes)
	copy(slots, testimony{}.encode())
	copy(slots[slotBytes:], testimony{}.encode())
	_, err = f.Write(slots)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, witnessFile)); err != nil {
		return err
	}
	return syncDir(dir)
}

func openWitness(dir string) (*witness, error) {
	f, err := os.OpenFile(filepath.Join(dir, witnessFile), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	w := &witness{f: f, stop: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w, nil
}

// note writes a testimony into the slot that the one before did not use.
func (w *witness) note(t testimony) error {
	_, err := w.f.WriteAt(t.encode(), int64(t.n%2)*slotBytes)
	w.mu.Lock()
	w.dirty = true
	w.mu.Unlock()
	return err
}

func (w *witness) run() {
	defer close(w.done)
	tick := time.NewTicker(witnessSync)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.mu.Lock()
			dirty := w.dirty
			w.dirty = false
			w.mu.Unlock()
			if dirty && w.f.Sync() != nil {
				// Lagging is safe, and the commits themselves are synced: try again.
				w.mu.Lock()
				w.dirty = true
				w.mu.Unlock()
			}
		case <-w.stop:
			return
		}
	}
}

func (w *witness) close() error {
	close(w.stop)
	<-w.done
	return errors.Join(w.f.Sync(), w.f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// checkTestimony compares the database's newest commit with what the witness says.
func checkTestimony(t testimony, c commit) error {
	if c.n >= t.n {
		return nil
	}
	return fmt.Errorf("the newest commit is number %d, but number %d was acknowledged: %d are lost", c.n, t.n, t.n-c.n)
}
