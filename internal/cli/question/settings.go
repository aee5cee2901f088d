package question

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/keyvalue"
	"github.com/nimbus-epu/epu/policies"
)

// settings are the flags that say how a configuration differs from the pool's.
type settings struct {
	set, unset []string
	conf       string
}

func (s *settings) flags(f *pflag.FlagSet, set string) {
	f.StringArrayVar(&s.set, "set", nil, set)
	f.StringArrayVar(&s.unset, "unset", nil, "`KEY` of the pool's settings, or KEY,KEY, to do without; may be repeated")
	f.StringVar(&s.conf, "conf", "", "YAML `FILE` with all settings, in place of the pool's; --set goes on top")
}

func (s *settings) given() bool { return len(s.set)+len(s.unset) > 0 || s.conf != "" }

// variant is what the flags say, and where in a file each setting stands.
type variant struct {
	conf  *structpb.Struct
	unset []string
	whole bool
	file  string
	lines keyvalue.Lines
}

// variant reads the flags.
func (h Host) variant(s settings, try string) (v variant, err error) {
	if v.conf, err = keyvalue.Parse(s.set); err != nil {
		return v, cli.Usage(try+" --set step_up=2", "--set: %w", err)
	}
	if v.unset, err = keyvalue.Keys(s.unset); err != nil {
		return v, cli.Usage(try+" --unset step_up", "--unset: %w", err)
	}
	if s.conf == "" {
		return v, nil
	}
	if len(v.unset) > 0 {
		return v, cli.Usage(try+" --conf "+s.conf, "--conf takes the place of all the pool's settings: there is nothing to --unset")
	}
	raw, err := os.ReadFile(h.path(s.conf))
	if err != nil {
		return v, cli.Usage("--conf FILE", "--conf: read %s: %w", s.conf, cli.Reason(err))
	}
	base, lines, err := keyvalue.ParseLines(raw)
	if err != nil {
		return v, cli.Usage("a file with lines such as step_up: 2", "--conf: %s: %w", s.conf, err)
	}
	for key := range v.conf.GetFields() {
		delete(lines, key) // it is the command line's
	}
	v.conf, v.whole, v.file, v.lines = keyvalue.Merge(base, v.conf), true, s.conf, lines
	return v, nil
}

// of makes the configuration that a policy gets here.
func (v variant) of(p *policies.Policy, conf map[string]any) (map[string]any, error) {
	vary := policies.Variant{Changes: v.conf.AsMap(), Unset: v.unset, Whole: v.whole}
	problems := vary.Idle(conf)
	full, more := p.Vary(conf, vary)
	if problems = append(problems, more...); problems == nil {
		return full, nil
	}
	for i := range problems {
		if line, ok := v.lines[problems[i].Key]; ok {
			problems[i].File, problems[i].Line = v.file, line
		}
	}
	err := epu.E(epu.Invalid, "check the configuration of", p.Name, policies.Problems(problems))
	if flags := p.Params.Mend(conf, vary, more); flags != "" {
		err.Try = "add " + flags + "; epumgmt policy doc " + p.Name + " lists the settings, and --conf FILE gives all of them"
	}
	return nil, err
}

// docOf is how advice names the page of a policy.
var docOf = regexp.MustCompile(`epumgmt policy doc [^ ;,]+`)

// settingNamed is how a problem of a setting begins.
var settingNamed = regexp.MustCompile(`^[A-Za-z_][\w-]*`)

// placed puts the place in the file in front of each problem of a setting that stands there, and names the candidate
// as the command line does, which the node does not know.
func (v variant) placed(err error, candidate string) error {
	var e *epu.Error
	if !errors.As(err, &e) || e.Err == nil || e.Kind != epu.Invalid {
		return err
	}
	parts := strings.Split(e.Err.Error(), "; ")
	for i, part := range parts {
		key := settingNamed.FindString(part)
		if line, ok := v.lines[key]; ok && strings.HasPrefix(strings.TrimLeft(part[len(key):], "[].0123456789"), ": ") {
			parts[i] = fmt.Sprintf("%s:%d: %s", v.file, line, part)
		}
	}
	with := *e
	with.Err = errors.New(strings.Join(parts, "; "))
	if candidate != "" {
		with.Try = docOf.ReplaceAllLiteralString(e.Try, "epumgmt policy doc "+candidate)
	}
	return &with
}
