//go:build linux

package local_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/local"
)

// Goal: how a program ended is known exactly.
// Method: programs that end in each way there is, by themselves or because they are told to.
func TestEnds(t *testing.T) {
	noProgram := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(noProgram, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		args   []string
		image  string
		tell   bool
		reason string
	}{
		{name: "exits", args: []string{"exit", "3"}, reason: "exit status 3"},
		{name: "succeeds", args: []string{"exit", "0"}, reason: "exit status 0"},
		{name: "crashes", args: []string{"suicide"}, reason: "signal: killed"},
		{name: "is told to end", args: []string{"idle"}, tell: true, reason: "terminated"},
		{name: "does not listen", args: []string{"stubborn"}, tell: true, reason: "terminated"},
		{name: "is no program", image: noProgram, reason: "could not be started: exec format error"},
	}
	c := newCloud(t, local.Options{Grace: 20 * time.Millisecond})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := c.request(epu.Token(fmt.Sprint("ends-", i)), 1, tt.args...)
			if tt.image != "" {
				req.Image = tt.image
			}
			id := c.launch(t, req)[0].ID
			if tt.tell {
				c.log(t, id, "ready")
				if err := c.Terminate(t.Context(), []epu.InstanceID{id}); err != nil {
					t.Fatal(err)
				}
			}
			in := c.awaitState(t, id, iaas.InstanceTerminated)
			if in.Reason != tt.reason {
				t.Errorf("got %q, want %q\n%s", in.Reason, tt.reason, c.describe())
			}
			if tt.args != nil && tt.args[0] == "exit" {
				c.log(t, id, "about to end\n")
			}
		})
	}
}

// Goal: a program gets what its launch says and nothing of the daemon.
// Method: a program that describes what it was given.
func TestWhatAProgramGets(t *testing.T) {
	t.Setenv("DAEMON_SECRET", "x")
	c := newCloud(t, local.Options{
		Path:     "/usr/bin:/bin",
		Programs: map[string][]string{"agent": {"/proc/self/exe", "worker"}},
	})
	req := c.request("what", 1)
	req.Image, req.Args, req.UserData = "agent", []string{"describe"}, "role: worker\n"
	req.Vars = map[string]epu.Var{"COLOUR": {Value: "a b=c"}, "PASSWORD": {Value: "hush", Secret: true}}
	id := c.launch(t, req)[0].ID
	got := c.log(t, id, "ready <nil>")
	in := c.awaitState(t, id, iaas.InstanceRunning)
	dir := c.folder(id)
	for _, want := range []string{
		"dir " + dir + "/work\n", "env COLOUR=a b=c\n", "env PASSWORD=hush\n", "env PATH=/usr/bin:/bin\n", "env HOME=" + dir + "/work\n",
		"env EPU_INSTANCE=" + string(id) + "\n", "env EPU_ADDRESS=" + in.Address + "\n", "data role: worker\n",
		"blocking true\n", "leader true\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\nenv "); n != 8 {
		t.Errorf("got %d variables, want 8:\n%s", n, got)
	}
	// Bits 31 and 32 are the C library's own signals, which no Go program can set: they come from whoever
	// started the test.
	ignored := regexp.MustCompile(`SigIgn:\t0000000[01][08]0000000\n`)
	if strings.Contains(got, "leaked") || !ignored.MatchString(got) {
		t.Errorf("open files or signal settings of the keeper went on to the program:\n%s", got)
	}
	if !strings.HasPrefix(in.Address, "127.") || strings.HasPrefix(in.Address, "127.0.") {
		t.Errorf("got address %s, want one of its own in 127.0.0.0/8", in.Address)
	}
	for path := dir; path != filepath.Dir(filepath.Dir(c.dir)); path = filepath.Dir(path) {
		if info, err := os.Stat(path); err == nil && strings.HasPrefix(path, c.dir+"/") && info.Mode().Perm() != 0o700 {
			t.Errorf("%s can be read by others: %v", path, info.Mode())
		}
	}
}

// Goal: a secret is on the disk no longer than its program needs to be started, and a launch is repeated all
// the same. Method: every file of the site is looked through, of a launch that runs and of one that was ended
// before it was started.
func TestSecretsLeaveTheDisk(t *testing.T) {
	c := newCloud(t, local.Options{})
	request := func(token epu.Token) iaas.LaunchRequest {
		req := c.request(token, 2, "idle")
		req.Vars = map[string]epu.Var{"PASSWORD": {Value: "hush-hush", Secret: true}, "COLOUR": {Value: "blue"}}
		return req
	}
	holders := func(text string) (files []string) {
		if err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), text) {
				files = append(files, path)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return files
	}
	for _, in := range c.launch(t, request("runs")) {
		c.awaitState(t, in.ID, iaas.InstanceRunning)
		c.log(t, in.ID, "ready <nil>")
	}
	if again := c.launch(t, request("runs")); len(again) != 2 || again[0].State != iaas.InstanceRunning {
		t.Errorf("repeated: got %+v", again)
	}
	if err := c.MakeOnly(request("never")); err != nil {
		t.Fatal(err)
	}
	if n := len(holders("hush-hush")); n != 2 {
		t.Errorf("%d files hold the secret of a launch that is to be started, want one of each instance", n)
	}
	never := slices.DeleteFunc(slices.Collect(maps.Keys(c.peek(t))), func(id epu.InstanceID) bool {
		_, err := os.Stat(filepath.Join(c.folder(id), "state.json"))
		return err == nil
	})
	if err := c.Terminate(t.Context(), never); err != nil {
		t.Fatal(err)
	}
	for _, id := range never {
		c.awaitState(t, id, iaas.InstanceTerminated)
	}
	if files := holders("hush-hush"); len(files) > 0 || len(holders("blue")) != 2 {
		t.Errorf("the secret is still in %v", files)
	}
}

// Goal: nothing that descends from a program outlives its instance, whatever it did to hide.
// Method: a program leaves children of every kind; all of them share a lock on one file, so that one
// try tells whether any of them lives. The end comes from every side.
func TestFamily(t *testing.T) {
	ends := map[string]struct {
		bare bool // with descendants that cleared their environment
		end  func(t *testing.T, c *cloud, id epu.InstanceID)
	}{
		"terminated": {true, func(t *testing.T, c *cloud, id epu.InstanceID) {
			if err := c.Terminate(t.Context(), []epu.InstanceID{id}); err != nil {
				t.Fatal(err)
			}
		}},
		"program killed": {true, func(t *testing.T, c *cloud, id epu.InstanceID) { c.kill(t, c.record(t, id).PID) }},
		"keeper killed":  {false, func(t *testing.T, c *cloud, id epu.InstanceID) { c.kill(t, c.record(t, id).Keeper) }},
		"keeper of a cgroup killed": {true, func(t *testing.T, c *cloud, id epu.InstanceID) {
			if c.record(t, id).Cgroup == "" {
				t.Skip("no cgroups can be made here, and without them what cleared its environment outlives a killed keeper")
			}
			c.kill(t, c.record(t, id).Keeper)
		}},
		"keeper told to end": {true, func(t *testing.T, c *cloud, id epu.InstanceID) {
			if err := unix.Kill(c.record(t, id).Keeper, unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, tt := range ends {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, local.Options{})
			alive := filepath.Join(c.dir, "alive")
			f, err := os.Create(alive)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			args := []string{"family", alive}
			if tt.bare {
				args = append(args, "bare")
			}
			id := c.launch(t, c.request("family", 1, args...))[0].ID
			c.log(t, id, "ready <nil>")
			c.awaitState(t, id, iaas.InstanceRunning)
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
				t.Fatal("the family does not hold its lock: the test is broken")
			}
			if n := len(marked(id)); n < 4 {
				t.Fatalf("got %d processes, want the program and at least three descendants", n)
			}
			tt.end(t, c, id)
			c.awaitState(t, id, iaas.InstanceTerminated)
			if group := c.record(t, id).Cgroup; group != "" {
				if _, err := os.Stat(group); err == nil {
					t.Errorf("the cgroup %s was left behind", group)
				}
			}
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Errorf("a descendant outlived its instance: %v; still marked: %v", err, marked(id))
			}
		})
	}
}

// Goal: a program that writes without end fills no disk, and its newest output is kept.
func TestLogsAreBounded(t *testing.T) {
	c := newCloud(t, local.Options{LogBytes: 64 << 10})
	id := c.launch(t, c.request("flood", 1, "flood"))[0].ID
	c.log(t, id, "the last line\n")
	for _, name := range []string{"stdout.log", "stdout.log.1"} {
		info, err := os.Stat(filepath.Join(c.folder(id), name))
		if err != nil || info.Size() > 32<<10 {
			t.Errorf("%s: got %v, %v; want at most 32 KiB", name, info, err)
		}
	}
}

// Goal: long after its end an instance is forgotten, but its token never launches again; what lives
// and what is recent stays; rubbish goes.
// Method: the provider's clock is put forward.
func TestCollect(t *testing.T) {
	c := newCloud(t, local.Options{})
	dead := c.launch(t, c.request("dead", 2, "exit", "0"))
	live := c.launch(t, c.request("live", 1, "idle"))[0].ID
	half := c.launch(t, c.request("half", 2, "idle"))
	c.awaitState(t, live, iaas.InstanceRunning)
	if err := c.Terminate(t.Context(), []epu.InstanceID{half[0].ID}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []epu.InstanceID{dead[0].ID, dead[1].ID, half[0].ID} {
		c.awaitState(t, id, iaas.InstanceTerminated)
	}
	if err := os.Mkdir(filepath.Join(c.dir, "tmp", "launch-left-by-a-crash"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := c.list(t); len(got) != 5 {
		t.Fatalf("got %d instances, want all 5 while they are recent", len(got))
	}
	c.skew = 3 * time.Hour
	c.list(t)
	got := c.list(t)
	if len(got) != 3 || got[live].State == 0 || got[half[0].ID].State == 0 {
		t.Errorf("got %v, want the living instance and the launch that is half alive", got)
	}
	if _, err := c.Launch(t.Context(), c.request("dead", 2, "exit", "0")); epu.KindOf(err) != epu.Conflict {
		t.Errorf("got %v, want a conflict for a token of the forgotten", err)
	}
	c.skew += time.Hour
	c.list(t)
	for pattern, want := range map[string]int{"launches/*": 2, "addresses/*": 3, "tmp/*": 0, "spent/*": 1} {
		if paths, _ := filepath.Glob(filepath.Join(c.dir, pattern)); len(paths) != want {
			t.Errorf("%s: got %v, want %d", pattern, paths, want)
		}
	}
}

// Goal: addresses are each instance's own, and what is in the way of a launch is said, with nothing made.
// Method: many launches, kept from being started by ending them at once; then a folder that is no folder.
func TestAddressesAndObstacles(t *testing.T) {
	c := newCloud(t, local.Options{})
	if err := c.MakeOnly(c.request("many", 300, "idle")); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(c.dir, "addresses", "127.*"))
	if len(files) != 300 {
		t.Errorf("got %d addresses for 300 instances", len(files))
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "launches")); err != nil { // nothing was started
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "launches"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Launch(t.Context(), c.request("in-the-way", 1, "idle")); err == nil {
		t.Error("a launch into a folder that is a file succeeded")
	}
	if _, err := c.List(context.Background(), iaas.ListRequest{}); epu.KindOf(err) != epu.Transient {
		t.Errorf("got %v, want a transient error and no empty listing", err)
	}
	if err := os.Remove(filepath.Join(c.dir, "launches")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(c.dir, "launches"), 0o700); err != nil {
		t.Fatal(err)
	}
	id := c.launch(t, c.request("in-the-way", 1, "idle"))[0].ID
	c.awaitState(t, id, iaas.InstanceRunning)
}
