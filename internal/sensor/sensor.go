package sensor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/internal/httpclient"
	"github.com/nimbus-epu/epu/internal/sensor/aws"
)

const (
	timeoutDefault = 10 * time.Second
	faultBytesMax  = 500 // of the reason that people are shown
)

// Options are the surroundings of a Puller.
type Options struct {
	Getenv    func(string) string // for secrets by reference; nil: no variable is set
	Now       func() time.Time    // for spans of time that a source is asked about; nil: no CloudWatch
	Transport http.RoundTripper   // nil: direct connections that verify TLS with the system's authorities
}

// Puller fetches readings. It may be used by many goroutines.
type Puller struct {
	getenv func(string) string
	http   *http.Client
	aws    *aws.Puller
	close  func()
}

// New makes a Puller.
func New(o Options) *Puller {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	closing := func() {}
	if o.Transport == nil {
		direct := httpclient.Direct(nil)
		direct.MaxIdleConnsPerHost = idleConnsMax
		o.Transport, closing = direct, direct.CloseIdleConnections
	}
	return &Puller{getenv: o.Getenv, http: httpclient.New(o.Transport), aws: aws.New(o.Now), close: closing}
}

// Close gives up idle connections.
func (p *Puller) Close() { p.close() }

// Pull asks a sensor's source once, within the sensor's timeout. The point is always fit to be added to
// the series: with an error it is unknown and says why. The error has a kind.
func (p *Puller) Pull(ctx context.Context, spec epu.SensorSpec) (sensing.Point, error) {
	timeout := spec.Timeout
	if timeout <= 0 {
		timeout = timeoutDefault
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	point, err := p.ask(ctx, spec)
	if err == nil && (math.IsNaN(point.Value) || math.IsInf(point.Value, 0)) {
		err = epu.E(epu.Unavailable, "read", string(spec.Source), fmt.Errorf("the value is %v, which is no number to act on", point.Value))
	}
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = &epu.Error{Kind: epu.Unavailable, Op: "read", On: string(spec.Source), Err: fmt.Errorf("no answer within %v", timeout)}
		}
		return sensing.Point{Unknown: true, Fault: oneLine(err.Error(), faultBytesMax)}, err
	}
	return point, nil
}

func (p *Puller) ask(ctx context.Context, spec epu.SensorSpec) (sensing.Point, error) {
	switch spec.Source {
	case epu.SourcePrometheus:
		return valued(p.prometheus(ctx, spec.Query))
	case epu.SourceHTTP:
		return valued(p.json(ctx, spec.Query))
	case epu.SourceCommand:
		return valued(command(ctx, spec.Query.Command))
	case epu.SourceSQS:
		return valued(p.aws.SQS(ctx, spec.Query))
	case epu.SourceCloudWatch:
		value, age, err := p.aws.CloudWatch(ctx, spec.Query)
		return sensing.Point{Value: value, Age: age}, err
	}
	return sensing.Point{}, epu.E(epu.Invalid, "read", "", fmt.Errorf("the source %q is not one that a node asks", string(spec.Source)))
}

func valued(value float64, err error) (sensing.Point, error) {
	return sensing.Point{Value: value}, err
}

// number reads a plain decimal number. What Go would read beyond that, such as 0x1p3 or 1_000, is
// more likely a mistake of the source.
func number(text string) (float64, error) {
	text = strings.TrimSpace(text)
	value, err := strconv.ParseFloat(text, 64)
	switch {
	case text == "":
		return 0, errors.New("the answer is empty")
	case strings.ContainsAny(text, "xX_"), err != nil:
		return 0, fmt.Errorf("%q is no number", oneLine(text, 80))
	}
	return value, nil
}

// oneLine makes a stranger's text fit for an error.
func oneLine(text string, most int) string {
	text = strings.Join(strings.Fields(strings.Map(printable, strings.ToValidUTF8(text, "?"))), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

func printable(r rune) rune {
	if !strconv.IsPrint(r) {
		return ' '
	}
	return r
}
