package policy

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/keyvalue"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/simulate"
)

// trial is what the flags of simulate say.
type trial struct {
	*kit
	against, workload, generate     string
	sets, others, sensors           []string
	conf, otherConf                 string
	arrivals, tick, readings, until time.Duration
	boot, job, life                 string
	charge, deadline                time.Duration
	workers, least, most, points    int
	price                           float64
	drainBusy                       bool
	seed                            uint64
	plots                           []string
	save                            string
	given                           []given // by policy
}

func simulateCommand(k *kit) *cobra.Command {
	t := &trial{kit: k}
	c := &cobra.Command{
		Use: "simulate POLICY", Short: "Run a policy over a workload on virtual time", Args: cli.Takes(1, 1), ValidArgsFunction: k.complete,
		Long: `Run a policy over a workload: the real engine, guard rails and reconciliation, with a modelled queue and workers that
boot, work on one job at a time, and fail. It says how long jobs waited and what the workers took of time and money.
With --against a second policy runs over the same work, and both stand side by side.

The workload is a CSV file (a header line; a time and the length of a job in each row, or a time and how many pieces of
work came in the interval that begins there; .gz is read too), or a description: steady(10/min), poisson(10/min),
ramp(0/min, 60/min), daily(2/min, 30/min), burst(200, 1h), each perhaps with from=1h and to=2h; of several the sum.
Lengths of time that differ are written uniform(60s, 2m), exp(5m) or normal(90s, 10s).

Sensors are called ` + measureNames() + `; --sensor load=utilization gives one another name.`,
		Example: `epumgmt policy simulate queuelen --generate 'daily(2/min, 40/min)' --for 24h --set queuelen_high_water=20 --set queuelen_low_water=2
epumgmt policy simulate queuelen --against npreserving --workload jobs.csv --set queuelen_high_water=20 --set queuelen_low_water=2 --set preserve_n=5 --plot out.svg`,
		RunE: func(cmd *cobra.Command, args []string) error { return t.run(cmd.Context(), args[0]) },
	}
	t.flags(c.Flags())
	return c
}

func measureNames() string {
	var names []string
	for _, m := range simulate.Measures() {
		names = append(names, m[0]+" ("+m[1]+")")
	}
	return strings.Join(names, ", ")
}

func (t *trial) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&t.workload, "workload", "", "take the work from this CSV `FILE`")
	f.StringVar(&t.generate, "generate", "", "make the work by this `DESCRIPTION`")
	f.DurationVar(&t.arrivals, "for", 6*time.Hour, "generated work comes in for this `TIME`")
	f.StringArrayVar(&t.sets, "set", nil, "`KEY=VALUE` of the configuration, for each policy that has such a parameter")
	f.StringVar(&t.conf, "conf", "", "YAML `FILE` with the configuration, as --set gives it; --set goes on top")
	f.StringVar(&t.against, "against", "", "compare with this `POLICY`")
	f.StringArrayVar(&t.others, "set-against", nil, "`KEY=VALUE` of the configuration of the policy that is compared with")
	f.StringVar(&t.otherConf, "conf-against", "", "YAML `FILE` with the configuration of the policy that is compared with")
	f.StringVar(&t.job, "job-length", "1m", "one worker works this `TIME` on a job that the workload gives no length")
	f.StringVar(&t.boot, "boot", "90s", "a launched worker runs after this `TIME`")
	f.StringVar(&t.life, "life", "", "a running worker fails after this `TIME`, such as exp(24h)")
	f.DurationVar(&t.tick, "tick", 5*time.Second, "`TIME` between decisions")
	f.DurationVar(&t.readings, "readings", 0, "`TIME` between readings of the sensors, if not a tick")
	f.DurationVar(&t.until, "until", 0, "end after this `TIME`, if not when all work is done")
	f.IntVar(&t.workers, "workers", 0, "`N` workers run at the start")
	f.IntVar(&t.least, "min", 0, "limits.min of the pool: `N` workers")
	f.IntVar(&t.most, "max", -1, "limits.max of the pool: `N` workers; -1 is none")
	f.BoolVar(&t.drainBusy, "drain-busy", false, "busy workers are drained too when there are too many: drain.protect_busy is false")
	f.Float64Var(&t.price, "price", 0, "`USD` that a worker costs in an hour")
	f.DurationVar(&t.charge, "charge", 0, "workers are charged for whole periods of this `TIME`, if not by the second")
	f.DurationVar(&t.deadline, "deadline", 0, "all work should be done after this `TIME`; policies read it with state.work()")
	f.StringArrayVar(&t.sensors, "sensor", nil, "`NAME=MEASURE`: one more sensor")
	f.Uint64Var(&t.seed, "seed", 1, "`N` that all chance comes from; the same seed gives the same run")
	f.StringArrayVar(&t.plots, "plot", nil, "draw into this `FILE.svg`, or to the terminal with -")
	f.StringVar(&t.save, "save-workload", "", "write the work, with the length of each job, into this `FILE.csv`")
	f.IntVar(&t.points, "points", 0, "put `N` moments of each run into machine output")
}

// simulated is the answer in machine output.
type simulated struct {
	Workload string             `json:"workload"`
	Seed     uint64             `json:"seed,string"`
	Runs     []*simulate.Result `json:"runs"`
}

func (t *trial) run(ctx context.Context, name string) error {
	base, err := t.config()
	if err != nil {
		return err
	}
	names := []string{name}
	if t.against != "" {
		names = append(names, t.against)
	}
	configs, err := t.policies(base, names)
	if err != nil {
		return err
	}
	answer := simulated{Workload: base.Workload.Name, Seed: t.seed}
	for i, c := range configs {
		r, err := simulate.Run(ctx, c)
		if err != nil {
			var problems policies.Problems
			if errors.As(err, &problems) {
				for _, g := range t.given[:i+1] {
					g.place(problems)
				}
			}
			var refused *epu.Error
			if errors.As(err, &refused) && refused.Kind == epu.Invalid {
				refused.Try = "--set KEY=VALUE, with the parameters of `epumgmt policy doc " + name + "`"
				if i > 0 {
					refused.Try = "--set-against KEY=VALUE, with the parameters of `epumgmt policy doc " + t.against + "`"
				}
				return err
			}
			return cli.Usage("epumgmt policy simulate --help", "simulate %s: %w", c.Label, err)
		}
		answer.Runs = append(answer.Runs, r)
	}
	return t.show(answer)
}

// config is what all runs share.
func (t *trial) config() (simulate.Config, error) {
	limits := simulate.DefaultLimits()
	limits.Min, limits.Max = t.least, t.most
	c := simulate.Config{
		Tick: t.tick, Every: t.readings, Length: t.until, Workers: t.workers, Seed: t.seed, Limits: &limits, Price: t.price,
		Charge: t.charge, Deadline: t.deadline, Sensors: map[string]string{},
		Drain: &epu.DrainSpec{Timeout: time.Hour, ProtectBusy: !t.drainBusy},
	}
	for _, n := range []struct {
		flag string
		ok   bool
	}{
		{"tick", t.tick >= 100*time.Millisecond},
		{"readings", t.readings == 0 || t.readings >= 100*time.Millisecond},
		{"until", t.until >= 0},
		{"for", t.arrivals > 0},
		{"charge", t.charge >= 0},
		{"deadline", t.deadline >= 0},
		{"price", t.price >= 0},
		{"workers", t.workers >= 0 && t.workers <= 100_000},
		{"min", t.least >= 0 && (t.most < 0 || t.least <= t.most)},
		{"max", t.most >= -1},
	} {
		if !n.ok {
			return c, cli.Usage("epumgmt policy simulate --help", "--%s is out of range", n.flag)
		}
	}
	for _, s := range []struct {
		flag, text string
		into       *simulate.Spread
	}{{"job-length", t.job, &c.JobLength}, {"boot", t.boot, &c.Boot}, {"life", t.life, &c.Life}} {
		if s.text == "" {
			continue
		}
		var err error
		if *s.into, err = simulate.ParseSpread(s.text); err != nil {
			return c, cli.Usage("--"+s.flag+" 90s", "--%s: %w", s.flag, err)
		}
	}
	for _, s := range t.sensors {
		name, measure, found := strings.Cut(s, "=")
		if !found || name == "" {
			return c, cli.Usage("--sensor load=utilization", "--sensor: %q has no =", s)
		}
		c.Sensors[name] = measure
	}
	var err error
	if c.Workload, err = t.read(); err != nil {
		return c, err
	}
	return c, t.keep(c.Workload, c.JobLength)
}

// keep writes the work down where that is asked for.
func (t *trial) keep(w *simulate.Workload, length simulate.Spread) error {
	if t.save == "" {
		return nil
	}
	w.Lengthen(length, t.seed)
	var b bytes.Buffer
	if err := w.WriteCSV(&b); err != nil {
		return err
	}
	if err := os.WriteFile(t.path(t.save), b.Bytes(), 0o644); err != nil {
		return &epu.Error{Kind: epu.Unavailable, Op: "write", On: t.save, Err: cli.Reason(err), Try: "--save-workload work.csv"}
	}
	return nil
}

// read takes the workload from where the flags say.
func (t *trial) read() (*simulate.Workload, error) {
	switch {
	case (t.workload == "") == (t.generate == ""):
		return nil, cli.Usage(`--generate "poisson(10/min)"`, "give the work with one of --workload and --generate")
	case t.generate != "":
		w, err := simulate.Generate(t.generate, t.arrivals, t.seed)
		if err != nil {
			return nil, cli.Usage(`--generate "poisson(10/min)"`, "--generate: %w", err)
		}
		return w, nil
	}
	f, err := os.Open(t.path(t.workload))
	if err == nil {
		if info, bad := f.Stat(); bad == nil && info.IsDir() {
			err = errors.Join(errors.New("it is a folder"), f.Close())
		}
	}
	if err != nil {
		return nil, &epu.Error{Kind: epu.NotFound, Op: "read workload", On: t.workload, Err: cli.Reason(err), Try: "--workload FILE.csv"}
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(t.workload, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, &epu.Error{Kind: epu.Invalid, Op: "read workload", On: t.workload, Err: err, Try: "a file that gzip made"}
		}
		defer z.Close()
		in = z
	}
	w, err := simulate.ReadCSV(t.workload, in)
	if err != nil {
		return nil, &epu.Error{Kind: epu.Invalid, Op: "read workload", Err: err, Try: "a header such as at,length or at,count"}
	}
	return w, nil
}

// policies makes one configuration for each policy. A setting goes to every policy that has such a
// parameter, and to one at least.
func (t *trial) policies(base simulate.Config, names []string) (out []simulate.Config, err error) {
	shared, err := t.settings("", t.conf, t.sets)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for i, name := range names {
		c := base
		if c.Policy, _, err = t.load(name); err != nil {
			return nil, err
		}
		if c.Label = c.Policy.Name; i > 0 && c.Label == out[0].Label {
			c.Label += " (2)"
		}
		c.Conf = map[string]any{}
		for key, v := range shared.conf {
			if has(c.Policy, key) {
				c.Conf[key], used[key] = v, true
			}
		}
		if i > 0 {
			own, err := t.settings("-against", t.otherConf, t.others)
			if err != nil {
				return nil, err
			}
			maps.Copy(c.Conf, own.conf)
			t.given = append(t.given, own)
		} else {
			t.given = []given{shared}
		}
		out = append(out, c)
	}
	for _, key := range slices.Sorted(maps.Keys(shared.conf)) {
		if used[key] {
			continue
		}
		where := "--set"
		if line, ok := shared.lines[key]; ok {
			where = fmt.Sprintf("%s:%d", shared.file, line)
		}
		return nil, cli.Usage("epumgmt policy doc "+names[0], "%s: no policy here has a parameter %q", where, key)
	}
	return out, nil
}

// given is the configuration of a policy as the flags give it.
type given struct {
	conf  map[string]any
	file  string
	lines keyvalue.Lines // of what comes from the file
}

// settings reads the flags --conf and --set, or those of the other policy.
func (t *trial) settings(suffix, file string, list []string) (given, error) {
	set, flag := "--set"+suffix, "--conf"+suffix
	conf, err := keyvalue.Parse(list)
	if err != nil {
		return given{}, cli.Usage(set+" key=value", "%s: %w", set, err)
	}
	if file == "" {
		return given{conf: conf.AsMap()}, nil
	}
	raw, err := os.ReadFile(t.path(file))
	if err != nil {
		return given{}, cli.Usage(flag+" FILE", "%s: read %s: %w", flag, file, cli.Reason(err))
	}
	base, lines, err := keyvalue.ParseLines(raw)
	if err != nil {
		return given{}, cli.Usage("a file with lines such as preserve_n: 4", "%s: %s: %w", flag, file, err)
	}
	for key := range conf.GetFields() {
		delete(lines, key)
	}
	return given{conf: keyvalue.Merge(base, conf).AsMap(), file: file, lines: lines}, nil
}

// place says of problems with settings of a file where they stand.
func (g given) place(problems policies.Problems) {
	for i := range problems {
		if line, ok := g.lines[problems[i].Key]; ok && problems[i].File == "" {
			problems[i].File, problems[i].Line = g.file, line
		}
	}
}

func has(p *policies.Policy, key string) bool {
	for i := range p.Params {
		for _, name := range p.Params[i].Names() {
			if name == key {
				return true
			}
		}
	}
	return false
}

func usd(v float64) string { return fmt.Sprintf("%.2f", v) }
