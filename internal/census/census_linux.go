package census

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nimbus-epu/epu/iaas"
)

// keeperCommand is the first argument of a keeper (iaas/local.KeeperCommand, which interfaces don't import).
const keeperCommand = "local-instance-keeper"

// Process is one process of the machine. PID and Start together are never reused.
type Process struct {
	PID    int
	Parent int
	Start  string   // clock ticks since the machine's start, as /proc has it
	Args   []string // empty of a process that has ended and was not awaited
	Dir    string   // where it works; empty when that may not be read
}

// String is the process for people.
func (p Process) String() string { return fmt.Sprintf("%d %s", p.PID, strings.Join(p.Args, " ")) }

// Instance is one instance's folder and what runs for it.
type Instance struct {
	ID       string // as the cloud would call it: i-<launch folder>-<slot>
	Launch   string // the launch that its creating call named in the tags
	Folder   string
	Ended    bool      // its folder says so
	Keepers  []Process // one, while it is alive
	Programs []Process // first processes of the worker program: one, while it runs
	Others   []Process // everything else that came from it
}

// Alive reports that any process of the instance is there.
func (i Instance) Alive() bool { return len(i.Keepers)+len(i.Programs)+len(i.Others) > 0 }

// Census is everything of one data folder at one moment.
type Census struct {
	Instances []Instance // in order of IDs
	Strays    []Process  // processes that work in the folder and belong to no instance
}

// Alive gives the instances that are alive.
func (c Census) Alive() []Instance {
	return slices.DeleteFunc(slices.Clone(c.Instances), func(i Instance) bool { return !i.Alive() })
}

// Programs gives the worker programs of all instances.
func (c Census) Programs() []Process {
	var out []Process
	for _, i := range c.Instances {
		out = append(out, i.Programs...)
	}
	return out
}

// Processes gives every process that the census found.
func (c Census) Processes() []Process {
	out := slices.Clone(c.Strays)
	for _, i := range c.Instances {
		out = append(out, slices.Concat(i.Keepers, i.Programs, i.Others)...)
	}
	return out
}

// Look counts what is there of the local sites in a node's data folder, which must be an absolute path.
// program is the name of the workers' program, and except are processes not to count as strays.
func Look(data, program string, except ...int) (Census, error) {
	var c Census
	var err error
	if c.Instances, err = folders(data); err != nil {
		return c, err
	}
	all, err := processes()
	if err != nil {
		return c, err
	}
	for _, p := range all {
		i := owner(c.Instances, all, p)
		switch {
		case len(p.Args) == 0:
		case i == nil && (slices.Contains(except, p.PID) || !mentions(p, all[p.Parent], data)):
		case i == nil:
			c.Strays = append(c.Strays, p)
		case keeps(p, i.Folder):
			i.Keepers = append(i.Keepers, p)
		case runs(p, program) && !runs(all[p.Parent], program):
			i.Programs = append(i.Programs, p)
		default:
			i.Others = append(i.Others, p)
		}
	}
	return c, nil
}

// mentions reports that a process works in the folder or was started with something in it. Children of
// the daemon that are about to become keepers are still its image.
func mentions(p, parent Process, data string) bool {
	if slices.Equal(p.Args, parent.Args) {
		return false
	}
	return inside(p.Dir, data) || slices.ContainsFunc(p.Args, func(a string) bool { return inside(a, data) })
}

func inside(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func keeps(p Process, folder string) bool {
	return len(p.Args) == 3 && p.Args[1] == keeperCommand && p.Args[2] == folder
}

func runs(p Process, program string) bool {
	return slices.ContainsFunc(p.Args, func(a string) bool { return filepath.Base(a) == program })
}

// owner finds the instance that a process came from: by its ancestors, or by where it works.
func owner(instances []Instance, all map[int]Process, p Process) *Instance {
	for q, ok := p, true; ok && q.PID > 1; q, ok = all[q.Parent] {
		for i := range instances {
			if keeps(q, instances[i].Folder) {
				return &instances[i]
			}
		}
	}
	for i := range instances {
		if inside(p.Dir, instances[i].Folder) {
			return &instances[i]
		}
	}
	return nil
}

// launchFile is what is read of a launch's folder.
type launchFile struct {
	Request   iaas.LaunchRequest `json:"request"`
	Instances []struct {
		ID string `json:"id"`
	} `json:"instances"`
}

// folders reads the instances of every local site in the data folder.
func folders(data string) ([]Instance, error) {
	launches, err := filepath.Glob(filepath.Join(data, "sites", "*", "launches", "*", "launch.json"))
	if err != nil {
		return nil, err
	}
	var out []Instance
	for _, file := range launches {
		var l launchFile
		raw, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // forgotten meanwhile
		}
		if err == nil {
			err = json.Unmarshal(raw, &l)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		for slot, in := range l.Instances {
			i := Instance{ID: in.ID, Launch: l.Request.Tags[iaas.TagLaunch], Folder: filepath.Join(filepath.Dir(file), strconv.Itoa(slot))}
			var state struct{ Phase string }
			raw, err := os.ReadFile(filepath.Join(i.Folder, "state.json"))
			i.Ended = err == nil && json.Unmarshal(raw, &state) == nil && state.Phase == "ended"
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// processes reads every process of the machine. One that ends meanwhile is left out.
func processes() (map[int]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]Process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := Find(pid); ok {
			all[pid] = p
		}
	}
	return all, nil
}

// Find reads one process; ok is false when there is none.
func Find(pid int) (p Process, ok bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, false
	}
	// The name, in brackets, may have anything in it: fields are counted from the last bracket.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const parent, start, least = 1, 19, 20
	if len(fields) < least {
		return Process{}, false
	}
	p = Process{PID: pid, Start: fields[start]}
	if p.Parent, err = strconv.Atoi(fields[parent]); err != nil {
		return Process{}, false
	}
	args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return Process{}, false
	}
	if text := strings.TrimRight(string(args), "\x00"); text != "" {
		p.Args = strings.Split(text, "\x00")
	}
	p.Dir, _ = os.Readlink(filepath.Join(dir, "cwd")) // another user's may not be read
	return p, true
}
