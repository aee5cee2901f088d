package question

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
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
		err.Try = policies.Advice(p.Name, flags)
	}
	return nil, err
}

// placed says of each problem of a setting where in the file that stands. The candidate, if there is one, is named in
// the advice as on the command line, which the node does not know.
func (v variant) placed(err error, own, candidate string) error {
	var e *epu.Error
	if !errors.As(err, &e) || e.Err == nil || e.Kind != epu.Invalid {
		return err
	}
	with := *e
	if candidate != "" {
		with.Try = strings.Replace(e.Try, policies.Advice(own, ""), policies.Advice(candidate, ""), 1)
	}
	var all *msg.Refusal
	if !errors.As(err, &all) {
		if line := v.line(e.Err.Error()); line > 0 {
			with.Err = fmt.Errorf("%s:%d: %w", v.file, line, e.Err)
		}
		return &with
	}
	here := &msg.Refusal{Err: &with}
	with.Err = errors.New(epu.Plural(len(all.List), "problem"))
	for _, p := range all.List {
		at := &msg.Problem{File: p.GetFile(), Line: p.GetLine(), Text: p.GetText(), Try: p.GetTry()}
		if line := v.line(p.GetText()); line > 0 && at.GetFile() == "" {
			at.File, at.Line = v.file, int32(line)
		}
		here.List = append(here.List, at)
	}
	return here
}

// line finds the setting that a problem begins with in the file; 0 = it is not there.
func (v variant) line(problem string) int {
	for key, line := range v.lines {
		// Of what is within a setting its path follows, such as lines[2].cron.
		if rest, ok := strings.CutPrefix(problem, key); ok && strings.HasPrefix(strings.TrimLeft(rest, "[].0123456789"), ": ") {
			return line
		}
	}
	return 0
}
