package sensor

import (
	"math"
	"strconv"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
)

// barsMax is how wide the line of bars may be: more of the hour would push the reasons off the screen.
const barsMax = 24

func view(m *msg.Sensors, pool string, plain bool) cli.View {
	v := cli.View{Type: cli.TypeOf(m), Data: m, Empty: "no pool has sensors"}
	if pool != "" {
		v.Empty = pool + " has no sensors"
	}
	t := cli.Table{Columns: []cli.Column{
		{Name: "POOL"},
		{Name: "SENSOR"},
		{Name: "VALUE", Right: true},
		{Name: "QUALITY"},
		{Name: "AGE", Right: true},
		{Name: "RECENT", Optional: true},
		{Name: "SOURCE", Optional: true},
		{Name: "EVERY", Right: true, Wide: true},
		{Name: "MISSING", Wide: true},
		{Name: "ERROR"},
	}}
	for _, s := range m.GetSensors() {
		age := "never"
		if s.GetAge() != nil {
			age = cli.Span(s.GetAge().AsDuration())
		}
		t.Rows = append(t.Rows, cli.Row{Name: s.GetPool() + "/" + s.GetSensor(), Message: s, Cells: []cli.Cell{
			cli.Text(s.GetPool()), cli.Text(s.GetSensor()), cli.Text(value(s)),
			{Text: s.GetQuality(), Tone: tone(s.GetQuality())},
			{Text: age, Stamp: "-"}, // time alone is no change
			{Text: bars(s.GetRecent(), plain), Stamp: "-"},
			cli.Text(s.GetSource()), cli.Text(cli.Span(s.GetEvery().AsDuration())), cli.Text(s.GetMissing()),
			{Text: s.GetError(), Tone: cli.Bad},
		}})
	}
	v.Tables = []cli.Table{t}
	return v
}

// value is the reading with its unit. What nobody knows has none: the last value may mislead.
func value(s *msg.SensorStatus) string {
	if s.GetQuality() == string(epu.QualityUnknown) {
		return "-"
	}
	text := number(s.GetValue())
	if s.GetUnit() != "" {
		text += " " + s.GetUnit()
	}
	return text
}

// number writes whole numbers in full and others with six digits.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func tone(quality string) cli.Tone {
	switch epu.Quality(quality) {
	case epu.QualityOK:
		return cli.Good
	case epu.QualityUnknown:
		return cli.Bad
	}
	return cli.Warn
}

// bars draws the newest readings as a line, from the least to the greatest of them.
func bars(samples []*msg.Sample, plain bool) string {
	samples = samples[max(0, len(samples)-barsMax):]
	levels, gap := []rune("▁▂▃▄▅▆▇█"), '·'
	if plain {
		levels, gap = []rune("_.-=+*%#"), ' '
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range samples {
		if !s.GetUnknown() {
			low, high = min(low, s.GetValue()), max(high, s.GetValue())
		}
	}
	var b strings.Builder
	for _, s := range samples {
		switch {
		case s.GetUnknown():
			b.WriteRune(gap)
		case high > low:
			// Halves first: the difference of two great numbers may be too great for one.
			share := (s.GetValue()/2 - low/2) / (high/2 - low/2)
			b.WriteRune(levels[int(math.Round(share*float64(len(levels)-1)))])
		default:
			b.WriteRune(levels[0])
		}
	}
	return b.String()
}
