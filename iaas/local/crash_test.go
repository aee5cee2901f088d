//go:build linux

package local_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/local"
)

// Goal: a launch whose daemon was killed before any keeper was started is started later, once, by
// whoever comes first, and never after it was ended.
// Method: such a folder is made, and then several providers do everything at once.
func TestAcceptedButNotStarted(t *testing.T) {
	t.Run("listing starts it", func(t *testing.T) {
		c := newCloud(t, local.Options{})
		if err := c.MakeOnly(c.once("a")); err != nil {
			t.Fatal(err)
		}
		for id, in := range c.list(t) {
			if in.State != iaas.InstancePending {
				t.Errorf("got %v before it is started, want pending", in.State)
			}
			c.awaitState(t, id, iaas.InstanceRunning)
			c.log(t, id, "ready <nil>")
		}
		c.wantStarts(t, 1)
	})
	t.Run("many at once", func(t *testing.T) {
		c := newCloud(t, local.Options{})
		if err := c.MakeOnly(c.once("a")); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 8 {
			other, err := local.New(c.dir, local.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				if i%2 == 0 {
					_, _ = other.List(t.Context(), iaas.ListRequest{})
				} else if _, err := other.Launch(t.Context(), c.once("a")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		id := c.launch(t, c.once("a"))[0].ID
		c.awaitState(t, id, iaas.InstanceRunning)
		c.log(t, id, "ready <nil>")
		c.wantStarts(t, 1)
	})
	t.Run("ended before", func(t *testing.T) {
		c := newCloud(t, local.Options{})
		if err := c.MakeOnly(c.once("a")); err != nil {
			t.Fatal(err)
		}
		ids := slices.Collect(maps.Keys(c.peek(t)))
		if err := c.Terminate(t.Context(), ids); err != nil {
			t.Fatal(err)
		}
		c.launch(t, c.once("a"))
		in := c.awaitState(t, ids[0], iaas.InstanceTerminated)
		if in.Reason != "terminated before it was started" {
			t.Errorf("got reason %q", in.Reason)
		}
		c.launch(t, c.once("a"))
		c.wantStarts(t, 0)
	})
}

// Goal: a program dies with its keeper at once, and is from then on never listed as running.
// Method: the keeper is killed and nothing is called until the program is dead, which is seen on its
// descriptor; then comes the first listing.
func TestKeeperKilled(t *testing.T) {
	c := newCloud(t, local.Options{})
	id := c.launch(t, c.request("widow", 1, "stubborn"))[0].ID
	c.log(t, id, "ready <nil>")
	c.awaitState(t, id, iaas.InstanceRunning)
	record := c.record(t, id)
	fd, err := unix.PidfdOpen(record.PID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	c.kill(t, record.Keeper)
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000)
	}
	if n != 1 || err != nil {
		t.Errorf("the program outlived its keeper: %v", err)
	}
	if s := c.list(t)[id].State; s != iaas.InstanceStopping && s != iaas.InstanceTerminated {
		t.Errorf("got %v, want an instance without a keeper to be on its way out", s)
	}
	if in := c.awaitState(t, id, iaas.InstanceTerminated); in.Reason != "its keeper was killed" {
		t.Errorf("got reason %q", in.Reason)
	}
}

// Goal: SIGKILL of daemon, keepers and programs at any moment leaves nothing unknown, doubled or
// orphaned.
// Method: daemons launch and end instances until they are killed at random; so are random keepers and
// programs. Then every folder is compared with the processes on the machine. EPU_CAMPAIGN sets the rounds.
func TestKilledAtAnyMoment(t *testing.T) {
	rounds, seed := 20, rand.Uint64()
	if s := os.Getenv("EPU_CAMPAIGN"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("EPU_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	for round := range rounds {
		t.Run(fmt.Sprint("seed ", seed+uint64(round)), func(t *testing.T) {
			r := &carnage{
				cloud: newCloud(t, local.Options{}), rng: rand.New(rand.NewPCG(seed+uint64(round), 0)),
				tokens: map[epu.Token]bool{}, ids: map[epu.InstanceID]bool{}, hit: map[epu.InstanceID]bool{},
			}
			for life := range 2 {
				r.daemon(t, life)
			}
			r.check(t)
		})
	}
}

// carnage is one round: what was asked for, what was promised and what was attacked.
type carnage struct {
	*cloud
	rng    *rand.Rand
	tokens map[epu.Token]bool      // asked for
	ids    map[epu.InstanceID]bool // promised by an answer
	hit    map[epu.InstanceID]bool // ended by the daemon, or killed
}

// daemon runs one daemon until it is killed at a random line of its output.
func (r *carnage) daemon(t *testing.T, life int) {
	cmd := exec.Command(r.exe, "daemon", r.dir, strconv.Itoa(life), strconv.FormatUint(r.rng.Uint64(), 10))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	left := 1 + r.rng.IntN(12)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		verb, subject, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "launching":
			r.tokens[epu.Token(subject)] = true
		case "launched":
			r.ids[epu.InstanceID(subject)] = true
		case "terminating":
			r.hit[epu.InstanceID(subject)] = true
		case "failed":
			t.Errorf("the daemon: %s", lines.Text())
		}
		if left--; left == 0 {
			r.work()
			_ = cmd.Process.Kill()
			if r.rng.IntN(4) == 0 { // everything there is, as when memory ran out
				r.murder(t, true)
			}
		}
		if left > 0 && r.rng.IntN(3) == 0 {
			r.work()
			r.murder(t, false)
		}
	}
	_ = cmd.Wait()
}

// work takes a random while, so that what comes next hits any moment of what others do.
func (r *carnage) work() {
	for range r.rng.IntN(1500) {
		_, _ = os.ReadFile("/proc/self/stat")
	}
}

// murder kills a random process of this round, or all: keepers, programs and what came from them.
func (r *carnage) murder(t *testing.T, all bool) {
	var victims []int
	owner := map[int]epu.InstanceID{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !strings.Contains(string(line)+string(env), r.dir+"/launches/") {
			continue
		}
		_, rest, _ := strings.Cut(string(line)+string(env), r.dir+"/launches/")
		hash, rest, _ := strings.Cut(rest, "/")
		slot := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
		owner[pid] = epu.InstanceID("i-" + hash + "-" + rest[:max(slot, 0)])
		victims = append(victims, pid)
	}
	if len(victims) == 0 {
		return
	}
	slices.Sort(victims)
	if !all {
		i := r.rng.IntN(len(victims))
		victims = victims[i : i+1]
	}
	r.rng.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for _, pid := range victims {
		r.hit[owner[pid]] = true
		r.kill(t, pid)
	}
}

// check lets the dust settle and compares promises, folders and processes.
func (r *carnage) check(t *testing.T) {
	for token := range r.tokens { // what may have been cut off is repeated, as a site does
		for _, in := range r.launch(t, r.once(token)) {
			r.ids[in.ID] = true
		}
	}
	// A program that was just killed is still listed as running, one in the middle of exec has no
	// environment to be found by yet; both pass, and say so with a file.
	truth := func(id epu.InstanceID, s iaas.InstanceState) bool {
		pids := marked(id)
		if s == iaas.InstanceRunning {
			return slices.Contains(pids, r.record(t, id).PID)
		}
		return s == iaas.InstanceTerminated && len(pids) == 0
	}
	r.await(t, "every folder says what the processes say", func() bool {
		for id, in := range r.list(t) {
			if !truth(id, in.State) {
				return false
			}
		}
		return true
	})
	got := r.list(t)
	if len(got) != len(r.ids) || len(got) != 2*len(r.tokens) {
		t.Errorf("got %d instances, want the %d promised, two of each of %d launches", len(got), len(r.ids), len(r.tokens))
	}
	for id, in := range got {
		if in.State != iaas.InstanceRunning && !r.hit[id] {
			t.Errorf("%s ended by itself: %s", id, in.Reason)
		}
		if !r.ids[id] {
			t.Errorf("%s was never promised", id)
		}
	}
	starts, _ := filepath.Glob(filepath.Join(r.dir, "starts-*"))
	for _, path := range starts {
		if text, _ := os.ReadFile(path); strings.Count(string(text), "\n") > 1 {
			t.Errorf("%s: started more than once: %s", path, text)
		}
	}
	if t.Failed() {
		t.Log(r.describe())
	}
}

// once is a launch whose programs note their starts.
func (c *cloud) once(token epu.Token) iaas.LaunchRequest {
	n := 2
	if token == "a" {
		n = 1
	}
	return c.request(token, n, "once", filepath.Join(c.dir, "starts-"))
}

func (c *cloud) wantStarts(t *testing.T, want int) {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(c.dir, "starts-*"))
	var text []byte
	for _, path := range paths {
		b, _ := os.ReadFile(path)
		text = append(text, b...)
	}
	if n := strings.Count(string(text), "started"); n != want || strings.Contains(string(text), "doubled") {
		t.Errorf("got starts %q, want %d", text, want)
	}
}

// peek finds instances without the listing's care for those that lost their keepers.
func (c *cloud) peek(t *testing.T) map[epu.InstanceID]bool {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(c.dir, "launches", "*", "[0-9]"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[epu.InstanceID]bool{}
	for _, d := range dirs {
		out[epu.InstanceID("i-"+filepath.Base(filepath.Dir(d))+"-"+filepath.Base(d))] = true
	}
	return out
}

// daemon launches, lists and ends, and says so before and after, until it is killed.
func daemon(args []string) {
	seed, _ := strconv.ParseUint(args[2], 10, 64)
	rng := rand.New(rand.NewPCG(seed, 1))
	p, err := local.New(args[0], local.Options{})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	exe, _ := os.Executable()
	c := &cloud{Provider: p, dir: args[0], exe: exe}
	for i := range 4 {
		token := epu.Token(fmt.Sprintf("t-%s-%d", args[1], i))
		fmt.Println("launching", token)
		got, err := p.Launch(context.Background(), c.once(token))
		if err != nil {
			fmt.Println("failed", err)
		}
		for _, in := range got {
			fmt.Println("launched", in.ID)
		}
		ins, err := p.List(context.Background(), iaas.ListRequest{})
		if err != nil {
			fmt.Println("failed", err)
		}
		if len(ins) > 0 && rng.IntN(2) == 0 {
			in := ins[rng.IntN(len(ins))]
			fmt.Println("terminating", in.ID)
			if err := p.Terminate(context.Background(), []epu.InstanceID{in.ID}); err != nil {
				fmt.Println("failed", err)
			}
		}
		fmt.Println("listed", len(ins))
	}
}
