package local

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// revivesMax bounds how many lost keepers one listing replaces; the next one goes on.
const revivesMax = 32

// Provider runs instances below one folder. Everything it knows is in that folder: any number of them
// may be open on it, in one process or several, and closing one means nothing to the instances.
type Provider struct {
	dir  string
	id   string // of the folder, so that tokens of two folders never give one ID
	opts Options

	mu        sync.Mutex // guards what follows; callers come from many goroutines
	launches  map[string]*launch
	ended     map[epu.InstanceID]state
	keepers   map[int]bool // keepers that are children of this process and were not awaited yet
	collected time.Time
}

var _ iaas.Provider = (*Provider)(nil)

// New opens a folder of instances, and makes it if there is none.
func New(dir string, opts Options) (*Provider, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault("open", dir, err)
	}
	for _, sub := range []string{"launches", "addresses", "spent", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fault("open", dir, err)
		}
	}
	id, err := identity(dir)
	if err != nil {
		return nil, fault("open", dir, err)
	}
	return &Provider{
		dir: dir, id: id, opts: opts.withDefaults(),
		launches: map[string]*launch{}, ended: map[epu.InstanceID]state{}, keepers: map[int]bool{},
	}, nil
}

// identity reads the folder's ID, or gives it one. Of two that try, the link lets one win.
func identity(dir string) (string, error) {
	path := filepath.Join(dir, "id")
	fresh := filepath.Join(dir, "tmp", "id-"+rand.Text())
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if len(entries(filepath.Join(dir, "launches"))) > 0 && !exists(path) {
			return "", fmt.Errorf("%s is missing, and without it no launch can be told from a new one; restore it or move the folder away", path)
		}
		if err := writeFile(fresh, []byte(rand.Text()), true); err != nil {
			return "", err
		}
		err := os.Link(fresh, path)
		_ = os.Remove(fresh)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if err := syncDir(dir); err != nil {
			return "", err
		}
	}
	b, err := os.ReadFile(path)
	if err == nil && len(b) < 16 {
		err = fmt.Errorf("%s is damaged: its %d bytes are no ID", path, len(b))
	}
	return string(b), err
}

// hash names a token's folder.
func (p *Provider) hash(t epu.Token) string {
	sum := sha256.Sum256([]byte(p.id + "/" + string(t)))
	return hex.EncodeToString(sum[:8])
}

func (p *Provider) folder(hash string) string { return filepath.Join(p.dir, "launches", hash) }

func slotFolder(folder string, slot int) string { return filepath.Join(folder, strconv.Itoa(slot)) }

var idForm = regexp.MustCompile(`^i-[0-9a-f]{16}-(0|[1-9][0-9]{0,5})$`)

// locate finds the launch and slot of an ID; l is nil for one that means nothing here.
func (p *Provider) locate(id epu.InstanceID) (l *launch, hash string, slot int, err error) {
	if !idForm.MatchString(string(id)) {
		return nil, "", 0, nil
	}
	hash, number, _ := strings.Cut(strings.TrimPrefix(string(id), "i-"), "-")
	slot, err = strconv.Atoi(number)
	if err != nil {
		return nil, "", 0, err
	}
	l, err = p.load(hash)
	if l != nil && slot >= len(l.Instances) {
		l = nil
	}
	return l, hash, slot, err
}

// load reads a launch, or gives nil if there is none.
func (p *Provider) load(hash string) (*launch, error) {
	p.mu.Lock()
	l := p.launches[hash]
	p.mu.Unlock()
	path := filepath.Join(p.folder(hash), "launch.json")
	if l != nil {
		if _, err := os.Lstat(path); err == nil {
			return l, nil
		}
	}
	l = &launch{}
	err := readJSON(path, l)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.launches[hash] = l
	p.mu.Unlock()
	return l, nil
}

// List implements iaas.Provider. It also replaces keepers that were killed, collects what has been
// ended for long, and so is what makes things whole again after any crash.
func (p *Provider) List(ctx context.Context, req iaas.ListRequest) ([]iaas.Instance, error) {
	p.await()
	var out []iaas.Instance
	revives := 0
	add := func(l *launch, hash string, slot int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		in, lost, err := p.look(l, hash, slot)
		if errors.Is(err, fs.ErrNotExist) && !exists(p.folder(hash)) {
			return nil // collected by another one in the meantime
		}
		if err != nil {
			return err
		}
		if lost && revives < revivesMax {
			revives++
			p.revive(slotFolder(p.folder(hash), slot))
		}
		if req.Matches(in) {
			out = append(out, in)
		}
		return nil
	}
	if err := p.each(ctx, req.IDs, add); err != nil {
		return nil, fault("list", p.dir, err)
	}
	p.collect()
	return out, nil
}

func (p *Provider) each(ctx context.Context, ids []epu.InstanceID, do func(l *launch, hash string, slot int) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	seen := map[epu.InstanceID]bool{}
	for _, id := range ids {
		l, hash, slot, err := p.locate(id)
		if err != nil {
			return err
		}
		if l == nil || seen[id] {
			continue
		}
		seen[id] = true
		if err := do(l, hash, slot); err != nil {
			return err
		}
	}
	if len(ids) > 0 {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(p.dir, "launches"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		l, err := p.load(e.Name())
		if err != nil {
			return err
		}
		for slot := 0; l != nil && slot < len(l.Instances); slot++ {
			if err := do(l, e.Name(), slot); err != nil {
				return err
			}
		}
	}
	return nil
}

// look reads one instance. The lock comes before the state: a keeper writes "ended" before it lets
// go, so a free lock with an older state means that the keeper was killed.
func (p *Provider) look(l *launch, hash string, slot int) (in iaas.Instance, lost bool, err error) {
	dir := slotFolder(p.folder(hash), slot)
	in = l.instance(slot)
	p.mu.Lock()
	s, known := p.ended[in.ID]
	p.mu.Unlock()
	held := true
	if !known {
		var unlocked error
		held, unlocked = locked(dir)
		if s, err = readState(dir); err == nil && s.Phase != phaseEnded {
			err = unlocked // the lock of what has ended may be missing
		}
		if err != nil {
			return in, false, err
		}
	}
	switch {
	case s.Phase == phaseEnded:
		in.State, in.Reason = iaas.InstanceTerminated, s.Reason
		p.mu.Lock()
		p.ended[in.ID] = s
		p.mu.Unlock()
		return in, false, nil
	case terminateAsked(dir) || s.Phase == phaseLost || !held && s.Phase != phaseNone:
		in.State = iaas.InstanceStopping
	case s.Phase == phaseRunning:
		in.State = iaas.InstanceRunning
	default:
		in.State = iaas.InstancePending
	}
	return in, !held, nil
}

// instance is what the launch alone says of one of its instances.
func (l *launch) instance(slot int) iaas.Instance {
	tags := make(map[string]string, len(l.Request.Tags))
	for k, v := range l.Request.Tags {
		tags[k] = v
	}
	return iaas.Instance{
		ID: l.Instances[slot].ID, Token: l.Token, Image: l.Request.Image, Allocation: l.Request.Allocation,
		Market: l.Request.Market, Zone: l.Request.Zone, Address: l.Instances[slot].Address,
		Launched: l.Launched, Tags: tags,
	}
}

// Terminate implements iaas.Provider.
func (p *Provider) Terminate(ctx context.Context, ids []epu.InstanceID) error {
	p.await()
	var errs []error
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return epu.E(epu.UnknownOutcome, "terminate", string(id), err)
		}
		l, hash, slot, err := p.locate(id)
		if err == nil && l != nil {
			err = p.end(slotFolder(p.folder(hash), slot))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // collected in the meantime: it had ended
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fault("terminate", p.dir, errors.Join(errs...))
	}
	return nil
}

// end makes the wish durable, and then tells the keeper, or starts one that carries it out.
func (p *Provider) end(dir string) error {
	s, err := readState(dir)
	if err != nil || s.Phase == phaseEnded {
		return err
	}
	var unsaved error
	if !terminateAsked(dir) {
		asked := map[string]time.Time{"asked": p.opts.Clock()}
		unsaved = writeJSON(filepath.Join(dir, "terminate.json"), asked, true)
	}
	wake(dir) // even if it could not be written down: a full disk must not keep machines alive
	if unsaved != nil {
		return unsaved
	}
	if held, err := locked(dir); err != nil || held {
		return err
	}
	p.revive(dir)
	return nil
}

// Offers implements iaas.Provider: processes cost nothing.
func (p *Provider) Offers(context.Context) ([]iaas.Offer, error) { return nil, nil }

// Notices implements iaas.Provider: there are none.
func (p *Provider) Notices(context.Context) ([]iaas.Notice, error) { return nil, nil }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
