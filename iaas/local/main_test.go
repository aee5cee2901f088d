//go:build linux

package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/local"
)

// TestMain is three more programs: the keeper of instances, the program that runs in them and a
// daemon that launches without end until it is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case local.KeeperCommand:
			os.Exit(local.KeeperMain(os.Args[2:]))
		case "worker":
			worker(os.Args[2:])
		case "daemon":
			daemon(os.Args[2:])
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

func binary(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// cloud is a provider on a folder of its own, and all that a test asks of it.
type cloud struct {
	*local.Provider
	dir  string
	exe  string
	skew time.Duration // of its clock
}

func newCloud(t testing.TB, opts local.Options) *cloud {
	t.Helper()
	return newCloudIn(t, t.TempDir(), opts)
}

func newCloudIn(t testing.TB, dir string, opts local.Options) *cloud {
	t.Helper()
	c := &cloud{dir: dir, exe: binary(t)}
	opts.Clock = func() time.Time { return time.Now().Add(c.skew) }
	var err error
	if c.Provider, err = local.New(c.dir, opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.endAll(t) })
	return c
}

func (c *cloud) request(token epu.Token, n int, args ...string) iaas.LaunchRequest {
	return iaas.LaunchRequest{
		Token: token, Min: n, Max: n, Image: c.exe, Args: append([]string{"worker"}, args...),
		Tags: map[string]string{iaas.TagLaunch: string(token)},
	}
}

func (c *cloud) launch(t testing.TB, req iaas.LaunchRequest) []iaas.Instance {
	t.Helper()
	got, err := c.Launch(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (c *cloud) list(t testing.TB) map[epu.InstanceID]iaas.Instance {
	t.Helper()
	got, err := c.List(context.Background(), iaas.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[epu.InstanceID]iaas.Instance{}
	for _, in := range got {
		out[in.ID] = in
	}
	return out
}

// endAll ends everything and makes sure that no process is left.
func (c *cloud) endAll(t testing.TB) {
	t.Helper()
	var ids []epu.InstanceID
	for id := range c.list(t) {
		ids = append(ids, id)
	}
	if err := c.Terminate(context.Background(), ids); err != nil {
		t.Fatal(err)
	}
	c.await(t, "everything has ended", func() bool {
		for _, in := range c.list(t) {
			if in.State != iaas.InstanceTerminated {
				return false
			}
		}
		return true
	})
	for _, id := range ids {
		if group := c.record(t, id).Cgroup; group != "" {
			if _, err := os.Stat(group); err == nil {
				t.Errorf("instance %s has ended, and its cgroup %s is left", id, group)
			}
		}
		if pids := marked(id); len(pids) > 0 {
			t.Errorf("instance %s has ended, and its processes %v live", id, pids)
		}
	}
}

func (c *cloud) awaitState(t testing.TB, id epu.InstanceID, want iaas.InstanceState) iaas.Instance {
	t.Helper()
	var in iaas.Instance
	c.await(t, string(id)+" is "+want.String(), func() bool {
		in = c.list(t)[id]
		return in.State == want
	})
	return in
}

// await asks cond again whenever a file below the launches comes or goes, and blocks in between.
func (c *cloud) await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	for {
		_ = filepath.WalkDir(filepath.Join(c.dir, "launches"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_, _ = unix.InotifyAddWatch(fd, path, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_CLOSE_WRITE)
			}
			return nil
		})
		if cond() {
			return
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			t.Fatalf("not within 30 s (%v): %s\n%s", err, what, c.describe())
		}
		if _, err := unix.Read(fd, buf); err != nil {
			t.Fatal(err)
		}
	}
}

// describe shows what the folder holds, for failures.
func (c *cloud) describe() string {
	var b strings.Builder
	for _, name := range []string{"state.json", "terminate.json", "keeper.log", "stderr.log"} {
		paths, _ := filepath.Glob(filepath.Join(c.dir, "launches", "*", "*", name))
		for _, p := range paths {
			text, _ := os.ReadFile(p)
			fmt.Fprintf(&b, "%s: %s\n", strings.TrimPrefix(p, c.dir), text)
		}
	}
	return b.String()
}

// folder is the folder of an instance.
func (c *cloud) folder(id epu.InstanceID) string {
	parts := strings.Split(string(id), "-")
	return filepath.Join(c.dir, "launches", parts[1], parts[2])
}

// record is what the instance's state file says.
func (c *cloud) record(t testing.TB, id epu.InstanceID) (r struct {
	Phase  string
	Cgroup string
	PID    int `json:"pid"`
	Keeper int `json:"keeper_pid"`
},
) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.folder(id), "state.json"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// kill ends a process that belongs to this cloud, and returns when it is dead.
func (c *cloud) kill(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it was faster
	}
	defer unix.Close(fd)
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if !strings.Contains(string(env)+string(line), c.dir) {
		return // no longer one of ours
	}
	if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return
	}
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
	}
}

// log waits for a line in an instance's output.
func (c *cloud) log(t testing.TB, id epu.InstanceID, want string) string {
	t.Helper()
	var text []byte
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, c.folder(id), unix.IN_CREATE|unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(string(text), want) {
		if text, err = os.ReadFile(filepath.Join(c.folder(id), "stdout.log")); err == nil && strings.Contains(string(text), want) {
			break
		}
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000); n == 0 && err == nil {
			t.Fatalf("instance %s did not write %q within 30 s\n%s", id, want, c.describe())
		}
		_, _ = unix.Read(fd, make([]byte, 4096))
	}
	return string(text)
}

// marked lists the living processes of an instance, by their environment.
func marked(id epu.InstanceID) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if slices.Contains(strings.Split(string(env), "\x00"), local.EnvInstance+"="+string(id)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
