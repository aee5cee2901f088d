package sensor

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// ageMax is how old a reading may be that is pushed.
const ageMax = 7 * 24 * time.Hour

// Host is the program that the commands are a part of.
type Host struct {
	Env *cli.Env
	// Show asks about sensors, once or again and again, and prints what view makes of each answer.
	Show func(ctx context.Context, watch bool, q *msg.SensorsQuery, view func(*msg.Sensors) (cli.View, error)) error
	// Push sends readings and prints the answer.
	Push func(ctx context.Context, m *msg.SensorPush) error
	// Pool checks the name of a pool.
	Pool func(name string) (string, error)
	// Pools completes names of pools, for the first so many arguments.
	Pools func(args int) cobra.CompletionFunc
}

// Command is the group `sensor` with all its commands.
func Command(h Host) *cobra.Command {
	group := cli.Parent(&cobra.Command{
		Use: "sensor", Aliases: []string{"sensors"}, Short: "Show what pools' sensors read, and push readings",
		Long: `A sensor is a named series of readings that a pool's policy looks at. The pool's file defines it. The node fetches
the readings of some sources itself; those of the sources push and rabbitmq are sent to it.`,
		Example: "epumgmt sensor list\nepumgmt sensor push epu-web queue-length=118",
	})
	for _, c := range []*cobra.Command{listCommand(h), pushCommand(h)} {
		c.Example = "  " + strings.ReplaceAll(c.Example, "\n", "\n  ") // as help indents everything else
		group.AddCommand(c)
	}
	return group
}

func listCommand(h Host) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use: "list [POOL]", Short: "Show sensors with their values, ages and last hour",
		Long: `Show each sensor on one line: its value, how far that can be trusted (ok, stale, unknown, warming), how old
it is, the last hour as bars from the least to the greatest value with a dot where the value was unknown, where
it comes from, and what is wrong. With -o wide also how often it is read and what missing data means.`,
		Example:           "epumgmt sensor list\nepumgmt sensor list epu-web --watch\nepumgmt sensor list epu-web -o json",
		Args:              arguments("epumgmt sensor list epu-web", 0, 1),
		ValidArgsFunction: h.Pools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &msg.SensorsQuery{}
			if len(args) > 0 {
				pool, err := h.Pool(args[0])
				if err != nil {
					return err
				}
				q.Pool = pool
			}
			return h.Show(cmd.Context(), watch, q, func(m *msg.Sensors) (cli.View, error) { return view(m, q.GetPool(), plain(h.Env.Getenv)), nil })
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show changes")
	return c
}

func pushCommand(h Host) *cobra.Command {
	var age, source string
	c := &cobra.Command{
		Use: "push POOL SENSOR=VALUE|unknown...", Short: "Send readings to a pool's sensors",
		Long: `Send readings to sensors of the source push or rabbitmq. All are taken or none. Send unknown where the value
can't be known: a policy then holds, while a 0 would make it shrink the pool.`,
		Example:           "epumgmt sensor push epu-web queue-length=118\nepumgmt sensor push epu-web queue-length=unknown\nepumgmt sensor push epu-web jobs=40 rate=2.5 --age 5s",
		Args:              arguments("epumgmt sensor push epu-web queue-length=118", 2, -1),
		ValidArgsFunction: h.Pools(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := h.Pool(args[0])
			if err != nil {
				return err
			}
			m := &msg.SensorPush{Pool: pool}
			old, fault := time.Duration(0), (*strictyaml.Fault)(nil)
			if age != "" {
				if old, fault = strictyaml.ParseDuration(age, 0, ageMax); fault != nil {
					return cli.Usage("--age 5s", "--age: %s", fault.Text)
				}
			}
			given := map[string]string{}
			for _, text := range args[1:] {
				v, err := parse(text)
				if first, twice := given[v.GetSensor()]; err == nil && twice {
					return cli.Usage("one value for each sensor", "sensor %s is given twice: %s and %s", v.GetSensor(), first, text)
				}
				given[v.GetSensor()] = text
				if err != nil {
					return cli.Usage("epumgmt sensor push "+pool+" queue-length=118, or queue-length=unknown", "%q: %w", text, err)
				}
				v.Source = source
				if old > 0 {
					v.Age = durationpb.New(old)
				}
				m.Values = append(m.Values, v)
			}
			return h.Push(cmd.Context(), m)
		},
	}
	c.Flags().StringVar(&age, "age", "", "how long ago the values were measured, as a `TIME` such as 5s")
	c.Flags().StringVar(&source, "source", "", "`NAME` of who measured; a new name begins the sensor's warm_up")
	return c
}

// arguments checks how many there are; most < 0 means any number.
func arguments(try string, least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return cli.Usage(try, "%s: an argument is missing", cmd.CommandPath())
		case most >= 0 && len(args) > most:
			return cli.Usage(try, "%s: too many arguments", cmd.CommandPath())
		}
		return nil
	}
}

// parse reads SENSOR=VALUE.
func parse(text string) (*msg.SensorValue, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" || value == "" {
		return nil, errors.New("it is not SENSOR=VALUE")
	}
	if value == "unknown" {
		return &msg.SensorValue{Sensor: name, Unknown: true}, nil
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || strings.ContainsAny(value, "xX_") {
		return nil, errors.New("the value is neither a number nor unknown")
	}
	return &msg.SensorValue{Sensor: name, Value: &n}, nil
}

// plain reports that the terminal's characters are not those of Unicode.
func plain(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return true
}
