package sensor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
)

// promAnswer is the answer of Prometheus' query API.
type promAnswer struct {
	Status string   `json:"status"`
	Error  string   `json:"error"`
	Warned []string `json:"warnings"`
	Data   struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	} `json:"data"`
}

type promSeries struct {
	Metric map[string]string `json:"metric"`
	Value  promSample        `json:"value"`
}

// promSample is a time and a value in quotes.
type promSample []json.RawMessage

func (s promSample) value() (float64, error) {
	var text string
	if len(s) != 2 || json.Unmarshal(s[1], &text) != nil {
		return 0, epu.E(epu.Invalid, "read", "the result", errors.New("it has no plain value"))
	}
	value, err := number(text)
	if err != nil {
		return 0, epu.E(epu.Invalid, "read", "the result", err)
	}
	return value, nil
}

// prometheus evaluates an instant query that gives one value. No series, and a warning that the result
// may lack something, mean unknown: an empty answer in rush hour must not look like an empty queue.
func (p *Puller) prometheus(ctx context.Context, q epu.SensorQuery) (float64, error) {
	base, err := url.Parse(q.URL)
	if err != nil {
		return 0, epu.E(epu.Invalid, "ask", "prometheus", errors.New("the address is none"))
	}
	address := base.JoinPath("api", "v1", "query")
	args := base.Query()
	args.Set("query", q.Expr)
	address.RawQuery = args.Encode()
	a, err := p.get(ctx, address, q)
	if err != nil {
		return 0, err
	}
	on := place(address)
	var answer promAnswer
	malformed := json.Unmarshal(a.body, &answer) != nil
	if err := a.refused(on, answer.Error); err != nil {
		return 0, err
	}
	switch {
	case malformed:
		return 0, epu.E(epu.Invalid, "read the answer of", on, errors.New("it is not that of Prometheus"))
	case answer.Status != "success":
		return 0, epu.E(epu.Invalid, "query", on, fmt.Errorf("the server refuses: %s", oneLine(answer.Error, 200)))
	case len(answer.Warned) > 0:
		return 0, epu.E(epu.Unavailable, "query", on, fmt.Errorf("the result may be incomplete: %s", oneLine(answer.Warned[0], 200)))
	}
	value, err := answer.value()
	if err != nil {
		return 0, fmt.Errorf("query %s: %w", on, err)
	}
	return value, nil
}

func (a promAnswer) value() (float64, error) {
	switch a.Data.Type {
	case "scalar":
		var s promSample
		if err := json.Unmarshal(a.Data.Result, &s); err != nil {
			return 0, epu.E(epu.Invalid, "read", "the result", errors.New("the scalar has no value"))
		}
		return s.value()
	case "vector":
		var all []promSeries
		if err := json.Unmarshal(a.Data.Result, &all); err != nil {
			return 0, epu.E(epu.Invalid, "read", "the result", errors.New("the vector makes no sense"))
		}
		switch len(all) {
		case 0:
			return 0, &epu.Error{Kind: epu.NotFound, Op: "find", On: "a series", Err: errors.New("the result is empty"), Try: "check the query; where no series means 0, add: or vector(0)"}
		case 1:
			return all[0].Value.value()
		}
		return 0, &epu.Error{
			Kind: epu.Invalid, Op: "choose", On: "a series", Err: fmt.Errorf("the result has %d: %s, %s", len(all), labels(all[0].Metric), labels(all[1].Metric)),
			Try: "aggregate them: sum(...), max(...)",
		}
	}
	return 0, &epu.Error{Kind: epu.Invalid, Op: "read", On: "the result", Err: fmt.Errorf("it is a %q, not a scalar or a vector", oneLine(a.Data.Type, 40)), Try: "write a query that gives one value now"}
}

// labels writes a series as PromQL does.
func labels(m map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k != "__name__" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", k, m[k]))
		}
	}
	return oneLine(m["__name__"]+"{"+strings.Join(pairs, ",")+"}", 160)
}
