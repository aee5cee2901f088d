package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// statusName is the status file's name when none is given; it is beside the user data.
const statusName = "epu-status"

// Limits of what a program says of itself.
const (
	statusEvery  = time.Second // between two looks
	statusMax    = 256         // bytes
	leaseMax     = 7 * 24 * time.Hour
	leasePeriods = 3 // "busy" without a time holds for so many heartbeats, and is renewed with each
)

// StatusFile is the file in which a worker's program says what it does: "idle", "busy", or "busy" and
// how long at most, such as "busy 10m". Whoever writes it should replace the file rather than write into
// it; `epu-agent busy` and `epu-agent idle` do.
type StatusFile string

// said is what a program says of itself. The zero value is nothing.
type said struct {
	busy, idle bool
	lease      time.Duration // of busy; 0 = until it says otherwise
	age        time.Duration // since it said so
	ahead      time.Time     // when it said so, if by the file's clock that is yet to come
}

// Clear forgets what was said.
func (f StatusFile) Clear() error {
	if f == "" {
		return nil
	}
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Write says it: "idle", "busy", "busy 10m".
func (f StatusFile) Write(text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(string(f)), ".epu-status-*")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(text + "\n")
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), string(f))
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // it may be in place already
	}
	return err
}

// read looks up what is said. A file that is not there says nothing.
func (f StatusFile) read(now time.Time) (said, error) {
	if f == "" {
		return said{}, nil
	}
	info, err := os.Stat(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return said{}, nil
	}
	if err != nil {
		return said{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > statusMax {
		return said{}, fmt.Errorf("it is no file of at most %d bytes", statusMax)
	}
	body, err := os.ReadFile(string(f))
	if err != nil {
		return said{}, err
	}
	s, err := parseStatus(string(body))
	if s.age = now.Sub(info.ModTime()); s.age < 0 {
		s.age, s.ahead = 0, info.ModTime()
	}
	return s, err
}

// parseStatus understands the words of a status file. A number without a unit is seconds.
func parseStatus(text string) (said, error) {
	words := strings.Fields(text)
	switch {
	case len(words) == 0:
		return said{}, nil // being written
	case len(words) == 1 && words[0] == "idle":
		return said{idle: true}, nil
	case len(words) == 1 && words[0] == "busy":
		return said{busy: true}, nil
	case len(words) == 2 && words[0] == "busy":
		d, err := time.ParseDuration(words[1])
		if s, serr := strconv.ParseFloat(words[1], 64); serr == nil {
			if !(s >= 0 && s <= leaseMax.Seconds()) { // a NaN too
				return said{}, fmt.Errorf("%q lies not between 0 and 7 days", words[1])
			}
			d, err = seconds(s), nil
		}
		if err != nil {
			return said{}, fmt.Errorf("%q is no time such as 90s or 10m", words[1])
		}
		if d <= 0 || d > leaseMax {
			return said{}, fmt.Errorf("%q lies not between 0 and 7 days", words[1])
		}
		return said{busy: true, lease: d}, nil
	}
	return said{}, fmt.Errorf("%q is none of: idle, busy, busy 10m", cut(strings.TrimSpace(text), 40))
}

// status is what the core knows of the program's work.
type status struct {
	readAt  time.Time // next look; zero: at once
	reading bool
	said    said
	since   time.Time // when it was said
}

// due reports that it is time to look, and notes the look as begun.
func (s *status) due(now time.Time) bool {
	if s.reading || now.Before(s.readAt) {
		return false
	}
	s.reading, s.readAt = true, now.Add(statusEvery)
	return true
}

// take takes in what was read and reports that the program has become busy. What a program said that
// has ended meanwhile means nothing.
func (s *status) take(now time.Time, in said, runs bool) bool {
	s.reading = false
	if !runs {
		s.forget()
		return false
	}
	wasBusy := s.busy(now)
	if in.ahead.IsZero() || !in.ahead.Equal(s.said.ahead) { // else it is what was read before, and no newer
		s.since = now.Add(-in.age)
	}
	s.said = in
	return s.busy(now) && !wasBusy
}

func (s *status) forget() { s.said = said{} }

func (s *status) busy(now time.Time) bool {
	return s.said.busy && (s.said.lease == 0 || now.Before(s.since.Add(s.said.lease)))
}

// busyUntil is the end of the lease in force; zero without one. One without a time holds for some beats.
func (s *status) busyUntil(now time.Time, period time.Duration) time.Time {
	switch {
	case !s.busy(now):
		return time.Time{}
	case s.said.lease == 0:
		return now.Add(leasePeriods * period)
	}
	return s.since.Add(s.said.lease)
}

// wire is what a beat says: how much longer the program is busy, or how long it has been idle; zeros
// say neither.
func (s *status) wire(now time.Time, period time.Duration) (busy, idle float64) {
	switch {
	case s.busy(now):
		return s.busyUntil(now, period).Sub(now).Seconds(), 0
	case s.said.idle:
		return 0, max(now.Sub(s.since), time.Millisecond).Seconds()
	}
	return 0, 0
}
