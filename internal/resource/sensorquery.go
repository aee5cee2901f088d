package resource

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

var (
	// headerForm is the form of HTTP field names (RFC 9110).
	headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")
	// secretHeader finds names of headers whose values are secrets, whoever writes them.
	secretHeader = regexp.MustCompile(`(?i)authorization|cookie|token|secret|password|api-?key|credential`)
	// regionForm is the form of AWS regions.
	regionForm = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
)

// sensorQuery reads what is asked of a sensor's source: only the fields that the source has.
func (p *parser) sensorQuery(m *strictyaml.Map, period time.Duration, s *epu.SensorSpec) {
	q := &s.Query
	if s.Source != "" && s.Source.Pulled() {
		s.Timeout = m.Get("timeout").Duration(s.Timeout, everyMin, 10*time.Minute)
	}
	switch s.Source {
	case epu.SourceRabbitMQ:
		q.Queue = m.Get("queue").Text("")
	case epu.SourcePrometheus:
		q.URL = addressOf(m.Need("url", "url: http://prometheus:9090"))
		if q.Expr = m.Need("query", "query: sum(my_queue_length)").Text(""); m.Has("query") && strings.TrimSpace(q.Expr) == "" {
			m.Get("query").Fail("is empty", "query: sum(my_queue_length)")
		}
		headersOf(m, q)
	case epu.SourceHTTP:
		q.URL = addressOf(m.Need("url", "url: http://host/path"))
		q.Field = pointerOf(m.Get("field"))
		headersOf(m, q)
	case epu.SourceCommand:
		q.Command = p.programOf(m, "command")
	case epu.SourceSQS:
		queueOf(m, q)
		awsOf(m, q)
	case epu.SourceCloudWatch:
		q.Namespace = needText(m, "namespace", "namespace: AWS/SQS")
		q.Metric = needText(m, "metric", "metric: ApproximateNumberOfMessagesVisible")
		q.Statistic = m.Get("statistic").Word(q.Statistic, "Average", "Sum", "SampleCount", "Maximum", "Minimum")
		q.Dimensions = dimensionsOf(m.Get("dimensions"))
		q.Period = period
		awsOf(m, q)
	}
}

// needText reads a text that must be given and not be empty.
func needText(m *strictyaml.Map, key, try string) string {
	v := m.Need(key, try)
	s, ok := v.Scalar()
	if ok && s == "" {
		v.Fail("is empty", try)
	}
	return s
}

// programOf reads a program and its arguments, which must be given.
func (p *parser) programOf(m *strictyaml.Map, key string) []string {
	const try = "[/path/of/program, argument]"
	v := m.Need(key, key+": "+try)
	words := textsOf(v)
	if v.IsList() && (len(words) == 0 || words[0] == "") {
		v.Fail("names no program", key+": "+try)
	}
	if len(words) > 0 {
		words[0] = p.beside(words[0], m.At().File())
	}
	return words
}

// addressOf reads an address for HTTP. Names and passwords in it would show wherever it is shown.
func addressOf(v strictyaml.Value) string {
	s, ok := v.Scalar()
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsAny(s, " \n\t"):
		v.Fail(fmt.Sprintf("%q is no address for HTTP", s), "http://host:port/path or https://host/path")
	case u.User != nil:
		v.Fail("a name or password can't stand in an address", "headers: {Authorization: {from: env:NAME}}")
	default:
		return s
	}
	return ""
}

// pointerOf reads a JSON pointer (RFC 6901); empty stands for the whole document.
func pointerOf(v strictyaml.Value) string {
	s, ok := v.Scalar()
	if !ok || s == "" {
		return ""
	}
	if !strings.HasPrefix(s, "/") {
		v.Fail(fmt.Sprintf("%q is no JSON pointer", s), "/"+strings.ReplaceAll(s, ".", "/"))
		return ""
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			v.Fail(fmt.Sprintf("%q is no JSON pointer: ~ must be followed by 0 or 1", s), "~0 for ~, ~1 for /")
			return ""
		}
	}
	return s
}

// headersOf reads headers and the bearer token. Secrets are references, never texts.
func headersOf(m *strictyaml.Map, q *epu.SensorQuery) {
	headers := m.Get("headers")
	for name, item := range headers.Map().All() {
		switch text, isText := "", !item.IsMap(); {
		case !headerForm.MatchString(name):
			item.Fail(fmt.Sprintf("%q is no name of a header", name), "")
			continue
		case isText && secretHeader.MatchString(name):
			item.Fail("a secret can't stand in a file", "{from: env:NAME} or {from: file:/path}")
			continue
		case isText:
			if text, isText = item.Scalar(); !isText {
				continue
			}
			if strings.ContainsAny(text, "\n\t") {
				item.Fail("a header's value is one line", "")
				continue
			}
			q.Headers = withVar(q.Headers, name, epu.Var{Value: text})
		default:
			q.Headers = withVar(q.Headers, name, secretOf(item))
		}
	}
	token := m.Get("bearer_token")
	if !token.Present() {
		return
	}
	if !token.IsMap() {
		token.Fail("a secret can't stand in a file", "bearer_token: {from: env:NAME} or {from: file:/path}")
		return
	}
	q.BearerToken = secretOf(token)
	for name := range q.Headers {
		if strings.EqualFold(name, "Authorization") {
			token.Fail("stands beside the header "+name, "keep one of them")
		}
	}
}

// withVar adds a variable to a mapping that may not be there yet.
func withVar(vars map[string]epu.Var, name string, v epu.Var) map[string]epu.Var {
	if vars == nil {
		vars = map[string]epu.Var{}
	}
	vars[name] = v
	return vars
}

// secretOf reads {from: env:NAME} or {from: file:/path}.
func secretOf(v strictyaml.Value) epu.Var {
	m := v.Map()
	from := referenceOf(m.Need("from", "{from: env:NAME}"))
	m.Done()
	if from == "" {
		return epu.Var{}
	}
	return epu.Var{From: from, Secret: true}
}

// queueOf reads which queue of SQS is counted, and what of it.
func queueOf(m *strictyaml.Map, q *epu.SensorQuery) {
	address, name := m.Get("url"), m.Get("queue")
	switch {
	case address.Present() && name.Present():
		name.Fail("stands beside url", "keep one of them")
	case address.Present():
		q.URL = addressOf(address)
	case name.Present():
		q.Queue = needText(m, "queue", "queue: <name of the queue>")
	default:
		name.Fail("is missing", "queue: <name of the queue>, or url: <its address>")
	}
	q.Count = m.Get("count").Word(countDefault, countDefault, "in-flight", "delayed", "total")
}

// awsOf reads where AWS is asked, and as whom. What is left out is as the AWS tools have it.
func awsOf(m *strictyaml.Map, q *epu.SensorQuery) {
	region := m.Get("region")
	if s, ok := region.Scalar(); ok {
		if q.Region = s; !regionForm.MatchString(s) {
			region.Fail(fmt.Sprintf("%q is no region", s), "us-east-1")
		}
	}
	if endpoint := m.Get("endpoint"); endpoint.Present() {
		q.Endpoint = addressOf(endpoint)
	}
	q.Profile = m.Get("aws_profile").Text("")
}

// dimensionsOf reads what tells a metric of CloudWatch from others of its name.
func dimensionsOf(v strictyaml.Value) map[string]string {
	out := map[string]string{}
	for name, item := range v.Map().All() {
		if text, ok := item.Scalar(); ok {
			out[name] = text
		}
	}
	if len(out) > dimensionMax {
		v.Fail(fmt.Sprintf("has %d dimensions, more than %d", len(out), dimensionMax), "")
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// periodOf reads the period of a CloudWatch metric: what the service takes.
func periodOf(v strictyaml.Value) time.Duration {
	d := v.Duration(periodDefault, time.Second, everyMax)
	switch d {
	case time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second:
		return d
	}
	if d%time.Minute != 0 {
		v.Fail(fmt.Sprintf("%s is no period of CloudWatch", strictyaml.FormatDuration(d)), "1s, 5s, 10s, 20s, 30s, or whole minutes")
		return periodDefault
	}
	return d
}

// queryField is one field that only some sources have.
func queryField(key string, s, def epu.SensorSpec) field {
	q := s.Query
	switch key {
	case "timeout":
		return leaf(key, s.Timeout, def.Timeout)
	case "url":
		return leaf(key, q.URL, "")
	case "query":
		return leaf(key, q.Expr, "")
	case "field":
		return leaf(key, q.Field, "")
	case "headers":
		return section(key, varFields(q.Headers)...)
	case "bearer_token":
		return section(key, leaf("from", q.BearerToken.From, ""))
	case "command":
		return texts(key, q.Command)
	case "queue":
		return leaf(key, q.Queue, "")
	case "count":
		return leaf(key, q.Count, countDefault)
	case "region":
		return leaf(key, q.Region, "")
	case "endpoint":
		return leaf(key, q.Endpoint, "")
	case "aws_profile":
		return leaf(key, q.Profile, "")
	case "namespace":
		return leaf(key, q.Namespace, "")
	case "metric":
		return leaf(key, q.Metric, "")
	case "statistic":
		return leaf(key, q.Statistic, def.Query.Statistic)
	case "dimensions":
		var vars []field
		for _, name := range slices.Sorted(maps.Keys(q.Dimensions)) {
			vars = append(vars, field{key: name, value: q.Dimensions[name]})
		}
		return section(key, vars...)
	case "period":
		return leaf(key, q.Period, def.Query.Period)
	}
	panic("resource: a source has the field " + key + ", which is written nowhere")
}
