package sensor_test

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/internal/sensor"
)

// said is what a server that answers everything with one thing answers with.
type said struct {
	status  int
	content string
	body    string
}

// fuzzed makes such a server and a puller that sees no credentials of this machine. The function has the server
// give an answer and reads a sensor from it.
func fuzzed(f *testing.F, content string) (ask func(t *testing.T, status int, body string, spec epu.SensorSpec) sensing.Point) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "",
		"AWS_DEFAULT_REGION": "", "AWS_CA_BUNDLE": "", "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
		"AWS_CONFIG_FILE": filepath.Join(f.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(f.TempDir(), "none"),
	} {
		f.Setenv(name, value)
	}
	var answer atomic.Pointer[said]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a := answer.Load()
		w.Header().Set("Content-Type", a.content)
		if a.content == "application/cbor" {
			w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
		}
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
	}))
	f.Cleanup(server.Close)
	now := time.Date(2026, 11, 21, 12, 0, 30, 0, time.UTC)
	p := sensor.New(sensor.Options{Getenv: func(string) string { return "" }, Now: func() time.Time { return now }})
	f.Cleanup(p.Close)
	return func(t *testing.T, status int, body string, spec epu.SensorSpec) sensing.Point {
		answer.Store(&said{status, content, body})
		spec.Query.URL, spec.Query.Endpoint = server.URL, server.URL
		if spec.Source == epu.SourceSQS {
			spec.Query.URL += "/123456789012/jobs"
		}
		point, err := p.Pull(t.Context(), spec)
		switch {
		case point.Unknown != (err != nil) || point.Unknown != (point.Fault != ""):
			t.Fatalf("got %+v with error %v, want an unknown point with a reason or a value", point, err)
		case math.IsNaN(point.Value) || math.IsInf(point.Value, 0) || point.Unknown && point.Value != 0:
			t.Fatalf("got %+v, want a number or nothing", point)
		case strings.ContainsAny(point.Fault, "\n\r\x1b") || len(point.Fault) > 1000:
			t.Fatalf("got the fault %q, want one short line", point.Fault)
		case status >= 300 && !point.Unknown:
			t.Fatalf("got %v out of an answer of status %d", point.Value, status)
		}
		if _, _, err := sensing.New("s", sensingSpec(spec), now).Add(point, now); err != nil {
			t.Fatalf("got %+v, which the series refuses: %v", point, err)
		}
		return point
	}
}

func sensingSpec(s epu.SensorSpec) epu.SensorSpec {
	s.Every, s.StaleAfter, s.Missing, s.Keep = 15*time.Second, time.Minute, epu.MissingHold, time.Hour
	return s
}

// statusOf keeps to statuses that end an exchange at once.
func statusOf(n int) int {
	return []int{http.StatusOK, http.StatusOK, http.StatusNoContent, http.StatusFound, http.StatusBadRequest, http.StatusForbidden}[uint(n)%6]
}

// Goal: whatever a server says, a sensor is a number or unknown with a reason, never a wrong number. Method:
// answers of any form; a number that is read stands in the answer as one.
func FuzzPrometheus(f *testing.F) {
	ask := fuzzed(f, "application/json")
	for _, body := range []string{
		`{"status":"success","data":{"resultType":"scalar","result":[1.5,"12.25"]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"NaN"]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[]}}`, `{"status":"error","error":"x\ny"}`,
		`{"status":"success","warnings":["w"],"data":{"resultType":"scalar","result":[1,"1"]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[[1]]}}`, ``, `null`, `[1]`,
	} {
		f.Add(0, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		point := ask(t, statusOf(status), body, epu.SensorSpec{Source: epu.SourcePrometheus, Query: epu.SensorQuery{Expr: "up"}})
		if !point.Unknown && !strings.Contains(body, "success") && !strings.Contains(body, `\u`) {
			t.Fatalf("got %v out of %q", point.Value, body)
		}
	})
}

// Goal: as above, and a number is the one that the pointer names. Method: any document and pointer, compared
// with the document as the standard library reads it where the pointer has one step.
func FuzzHTTP(f *testing.F) {
	ask := fuzzed(f, "application/json")
	for _, c := range [][2]string{
		{`{"a":5}`, "/a"},
		{`{"a":[1,{"b":2}]}`, "/a/1/b"},
		{`7`, ""},
		{`{"a":"5"}`, "/a"},
		{`{"a":1e400}`, "/a"},
		{`{"a/b":1}`, "/a~1b"},
		{`{"":1}`, "/"},
		{`[1,2]`, "/01"},
		{`{"a":5} 6`, "/a"},
		{`{"a":-0}`, "/a"},
		{`{"a":5}`, "a"},
		{"\xff", ""},
	} {
		f.Add(0, c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, status int, body, pointer string) {
		point := ask(t, statusOf(status), body, epu.SensorSpec{Source: epu.SourceHTTP, Query: epu.SensorQuery{Field: pointer}})
		name, ok := strings.CutPrefix(pointer, "/")
		if point.Unknown || !ok || strings.ContainsAny(name, "/~") {
			return
		}
		var plain map[string]any
		if json.Unmarshal([]byte(body), &plain) == nil && plain[name] != point.Value {
			t.Fatalf("got %v, want %v", point.Value, plain[name])
		}
	})
}

// Goal: the same for the answers of SQS, through Amazon's own client. Method: any document.
func FuzzSQS(f *testing.F) {
	ask := fuzzed(f, "application/x-amz-json-1.0")
	for _, body := range []string{
		`{"Attributes":{"ApproximateNumberOfMessages":"5"}}`, `{"Attributes":{"ApproximateNumberOfMessages":"-5"}}`,
		`{"Attributes":{"ApproximateNumberOfMessages":"99999999999999999999"}}`, `{"Attributes":{}}`, `{"Attributes":5}`, `{}`, ``,
		`{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"x\ny"}`, `{"Attributes":{"ApproximateNumberOfMessages":null}}`,
	} {
		f.Add(0, body)
		f.Add(4, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		point := ask(t, statusOf(status), body, epu.SensorSpec{Source: epu.SourceSQS, Query: epu.SensorQuery{Region: "us-east-1"}})
		if point.Value < 0 || point.Value != math.Trunc(point.Value) {
			t.Fatalf("got %v messages", point.Value)
		}
	})
}

// Goal: the same for the answers of CloudWatch. Method: any bytes, and well-formed answers with any numbers.
func FuzzCloudWatch(f *testing.F) {
	ask := fuzzed(f, "application/cbor")
	const good = "\xa1jDatapoints\x81\xa3iTimestamp\xc1\xfbA\xda\xc0a\xe1\x00\x00\x00cSum\xfb@\x1c\x00\x00\x00\x00\x00\x00dUniteCount" // 7 at 11:59
	for _, body := range []string{good, "\xa1jDatapoints\x80", "\xa0", "", "\xff", good[:20]} {
		f.Add(0, body)
		f.Add(4, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		point := ask(t, statusOf(status), body, epu.SensorSpec{Source: epu.SourceCloudWatch, Query: epu.SensorQuery{
			Region: "us-east-1", Namespace: "AWS/SQS", Metric: "Depth", Statistic: "Sum", Period: time.Minute,
		}})
		if statusOf(status) == http.StatusOK && body == good && point.Value != 7 {
			t.Fatalf("got %+v out of a good answer, want 7", point)
		}
	})
}
