package local

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// launchMax bounds the instances of one launch, each of which is two processes.
const launchMax = 1000

// addressTries bounds the search for a free address; with 16 million of them one try is the rule.
const addressTries = 64

// Launch implements iaas.Provider. The launch is accepted by one rename; all before it leaves no trace
// that counts, and everything after it is repeated by whoever looks next.
func (p *Provider) Launch(ctx context.Context, req iaas.LaunchRequest) ([]iaas.Instance, error) {
	p.await()
	on := string(req.Token)
	if err := ctx.Err(); err != nil {
		return nil, epu.E(epu.UnknownOutcome, "launch", on, err)
	}
	if err := iaas.Refusal(req.Token, req.Problems()); err != nil {
		return nil, err
	}
	hash := p.hash(req.Token)
	l, err := p.load(hash)
	if err != nil {
		return nil, epu.E(epu.UnknownOutcome, "launch", on, err) // it may have been made by an earlier call
	}
	if l == nil {
		if exists(filepath.Join(p.dir, "spent", hash)) {
			return nil, epu.E(epu.Conflict, "launch", on, errors.New("all instances of the token ended long ago"))
		}
		if l, err = p.make(hash, req); err != nil {
			return nil, err
		}
	}
	if l.Token != req.Token || l.Digest != req.Digest() {
		return nil, epu.E(epu.Conflict, "launch", on, errors.New("the token was used with another request"))
	}
	out := make([]iaas.Instance, len(l.Instances))
	for slot := range l.Instances {
		in, lost, err := p.look(l, hash, slot)
		if err != nil {
			return nil, epu.E(epu.UnknownOutcome, "launch", on, err)
		}
		if lost {
			p.revive(slotFolder(p.folder(hash), slot))
		}
		out[slot] = in
	}
	return out, nil
}

// make builds a launch's folder aside and moves it into place. If another caller was first, that
// one's launch is the launch.
func (p *Provider) make(hash string, req iaas.LaunchRequest) (*launch, error) {
	on := string(req.Token)
	argv, problems := p.command(req)
	if err := iaas.Refusal(req.Token, problems); err != nil {
		return nil, err
	}
	kept, secrets := withoutSecrets(req)
	l := &launch{
		Token: req.Token, Digest: req.Digest(), Request: kept, Argv: argv, Path: p.opts.Path,
		Grace: p.opts.Grace, LogBytes: p.opts.LogBytes, Launched: p.opts.Clock().UTC(),
	}
	aside := filepath.Join(p.dir, "tmp", "launch-"+rand.Text())
	err := p.build(aside, hash, l, secrets)
	if err == nil {
		err = os.Rename(aside, p.folder(hash))
	}
	if err != nil {
		_ = os.RemoveAll(aside)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
			if l, err = p.load(hash); err == nil && l != nil {
				return l, nil
			}
			return nil, epu.E(epu.UnknownOutcome, "launch", on, errors.Join(errors.New("another call made it"), err))
		}
		return nil, fault("launch", on, err)
	}
	if err := syncDir(filepath.Join(p.dir, "launches")); err != nil {
		return nil, epu.E(epu.UnknownOutcome, "launch", on, err)
	}
	if l, err = p.load(hash); l == nil {
		return nil, epu.E(epu.UnknownOutcome, "launch", on, errors.Join(errors.New("its folder is gone"), err))
	}
	return l, nil
}

// withoutSecrets is a request as it is kept, and apart from it what only programs that are being started need.
func withoutSecrets(req iaas.LaunchRequest) (kept iaas.LaunchRequest, secrets map[string]string) {
	kept = req
	kept.Vars = maps.Clone(req.Vars)
	for name, v := range req.Vars {
		if v.Secret {
			if secrets == nil {
				secrets = map[string]string{}
			}
			secrets[name], v.Value = v.Value, ""
			kept.Vars[name] = v
		}
	}
	return kept, secrets
}

func (p *Provider) build(aside, hash string, l *launch, secrets map[string]string) error {
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	for slot := range l.Request.Max {
		id := epu.InstanceID("i-" + hash + "-" + strconv.Itoa(slot))
		address, err := p.claim(id)
		if err != nil {
			return err
		}
		l.Instances = append(l.Instances, place{ID: id, Address: address})
		if err := buildSlot(slotFolder(aside, slot), secrets); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(aside, "launch.json"), l, true) // the folder itself is synced with it
}

func buildSlot(dir string, secrets map[string]string) error {
	if err := os.MkdirAll(filepath.Join(dir, "work"), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := lock.Close(); err != nil {
		return err
	}
	if err := unix.Mkfifo(filepath.Join(dir, "wake"), 0o600); err != nil {
		return &fs.PathError{Op: "make pipe", Path: filepath.Join(dir, "wake"), Err: err}
	}
	if secrets != nil {
		return writeJSON(filepath.Join(dir, secretsFile), secrets, true) // the folder is synced with it
	}
	return syncDir(dir)
}

// claim reserves an address for an instance. A link makes the claim whole at once. What a crash
// leaves behind is collected later; repeated, the same instance finds its own claim.
func (p *Provider) claim(id epu.InstanceID) (string, error) {
	mine := filepath.Join(p.dir, "tmp", "claim-"+rand.Text())
	if err := writeFile(mine, []byte(id), false); err != nil {
		return "", err
	}
	defer os.Remove(mine)
	for try := range addressTries {
		h := sha256.Sum256([]byte(string(id) + "/" + strconv.Itoa(try)))
		address := fmt.Sprintf("127.%d.%d.%d", 1+int(h[0])%254, h[1], 1+int(h[2])%254)
		path := filepath.Join(p.dir, "addresses", address)
		err := os.Link(mine, path)
		if err == nil {
			return address, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if owner, err := os.ReadFile(path); err == nil && string(owner) == string(id) {
			now := p.opts.Clock()
			return address, os.Chtimes(path, now, now) // too young to be collected
		}
	}
	return "", errors.New("no free address found in 127.0.0.0/8")
}

// Validate implements iaas.Provider.
func (p *Provider) Validate(ctx context.Context, req iaas.LaunchRequest) ([]iaas.Problem, error) {
	if err := ctx.Err(); err != nil {
		return nil, epu.E(epu.Transient, "validate", string(req.Token), err)
	}
	_, ps := p.command(req)
	return append(req.Problems(), ps...), nil
}

// command is what will be run, with every problem that only this provider can see.
func (p *Provider) command(req iaas.LaunchRequest) (argv []string, ps []iaas.Problem) {
	if req.Image != "" {
		var problem *iaas.Problem
		if argv, problem = p.program(req.Image); problem != nil {
			ps = append(ps, *problem)
		}
	}
	if req.Max > launchMax {
		ps = append(ps, iaas.Problem{
			Subject: fmt.Sprintf("max %d", req.Max), Text: fmt.Sprintf("is more than the %d instances of a launch on one machine", launchMax),
			Try: "ask for fewer at once",
		})
	}
	if req.Market != "" && req.Market != epu.OnDemand {
		ps = append(ps, iaas.Problem{
			Subject: "market " + string(req.Market), Text: "does not exist here: local processes are not sold",
			Try: "leave market out of the placement",
		})
	}
	for _, name := range sortedKeys(req.Vars) {
		v := req.Vars[name]
		switch {
		case v.From != "":
			ps = append(ps, iaas.Problem{
				Subject: "variable " + name, Text: "is a reference to a secret, which is to be resolved before the launch",
			})
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(v.Value, "\x00"):
			ps = append(ps, iaas.Problem{
				Subject: fmt.Sprintf("variable %q", name), Text: "can't be put into a program's environment",
				Try: "use a name without = and a value without NUL",
			})
		case name == EnvInstance || name == EnvAddress || name == EnvUserData:
			ps = append(ps, iaas.Problem{Subject: "variable " + name, Text: "is set by the site itself", Try: "use another name"})
		}
	}
	if i := slices.IndexFunc(req.Args, func(a string) bool { return strings.Contains(a, "\x00") }); i >= 0 {
		ps = append(ps, iaas.Problem{Subject: fmt.Sprintf("argument %d", i+1), Text: "contains NUL"})
	}
	return append(argv, req.Args...), ps
}

// program resolves an image: a named program, a path, or a name on the path.
func (p *Provider) program(image string) ([]string, *iaas.Problem) {
	named := p.opts.Programs[image]
	candidates := []string{image}
	if len(named) > 0 {
		candidates = named[:1]
	} else if !strings.Contains(image, "/") {
		candidates = nil
		for dir := range strings.SplitSeq(p.opts.Path, ":") {
			candidates = append(candidates, filepath.Join(dir, image))
		}
	}
	why := "is not on the path " + p.opts.Path
	for _, path := range candidates {
		info, err := os.Stat(path)
		switch {
		case !filepath.IsAbs(path):
			why = "is not an absolute path"
		case errors.Is(err, fs.ErrNotExist):
			if strings.Contains(image, "/") {
				why = "does not exist"
			}
		case err != nil:
			why = "can't be looked at: " + err.Error()
		case !info.Mode().IsRegular() || unix.Access(path, unix.X_OK) != nil:
			why = "is not an executable file"
		default:
			return append([]string{path}, named[min(1, len(named)):]...), nil
		}
	}
	return nil, &iaas.Problem{
		Subject: "image " + image, Text: why,
		Try: "give the absolute path of a program on this machine",
	}
}

func sortedKeys(m map[string]epu.Var) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
