package aws_test

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/sensor/aws"
)

// Goal: Amazon's real client library gets from a queue and a metric what the sensor means, and every
// refusal has its kind. Method: small servers that speak the documented protocols.

var now = time.Date(2026, 11, 21, 12, 0, 30, 0, time.UTC)

// puller has credentials of its own and sees none of the machine's.
func puller(t *testing.T) *aws.Puller {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "hidden", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "",
		"AWS_DEFAULT_REGION": "", "AWS_CA_BUNDLE": "", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"),
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	return aws.New(func() time.Time { return now })
}

func TestSQS(t *testing.T) {
	p := puller(t)
	fake := &fakeSQS{t: t, queues: map[string]map[string]string{
		"jobs": {"ApproximateNumberOfMessages": "990", "ApproximateNumberOfMessagesNotVisible": "10", "ApproximateNumberOfMessagesDelayed": "5"},
		"part": {"ApproximateNumberOfMessages": "1"},
	}}
	server := httptest.NewServer(fake)
	defer server.Close()
	fake.url = server.URL
	for count, want := range map[string]float64{"visible": 990, "": 990, "in-flight": 10, "delayed": 5, "total": 1005} {
		got, err := p.SQS(t.Context(), epu.SensorQuery{Queue: "jobs", Count: count, Region: "us-east-1", Endpoint: server.URL})
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", count, got, err, want)
		}
	}
	if n := strings.Count(strings.Join(fake.calls, " "), "GetQueueUrl"); n != 1 {
		t.Errorf("the name was looked up %d times, want once", n)
	}
	got, err := p.SQS(t.Context(), epu.SensorQuery{URL: server.URL + "/123456789012/jobs", Region: "us-east-1", Endpoint: server.URL})
	if err != nil || got != 990 {
		t.Errorf("by its address: got %v, %v", got, err)
	}

	for _, c := range []struct {
		name  string
		q     epu.SensorQuery
		fail  string
		kind  epu.Kind
		wants string
	}{
		{"no such queue", epu.SensorQuery{Queue: "none"}, "", epu.NotFound, "QueueDoesNotExist"},
		{"no such number", epu.SensorQuery{Queue: "part", Count: "total"}, "", epu.Unavailable, "no number ApproximateNumberOfMessagesNotVisible"},
		{"no such count", epu.SensorQuery{Queue: "jobs", Count: "all"}, "", epu.Invalid, "no such number"},
		{"denied", epu.SensorQuery{Queue: "jobs"}, "AccessDeniedException", epu.Denied, "said the fake"},
		{"throttled", epu.SensorQuery{Queue: "jobs"}, "RequestThrottled", epu.Throttled, "said the fake"},
		{"refused", epu.SensorQuery{Queue: "jobs"}, "InvalidAddress", epu.Invalid, "said the fake"},
	} {
		fake.fail = c.fail
		c.q.Region, c.q.Endpoint = "us-east-1", server.URL
		_, err := p.SQS(t.Context(), c.q)
		if epu.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.wants) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: got %v of kind %v, want %v with %q", c.name, err, epu.KindOf(err), c.kind, c.wants)
		}
	}
	// A queue that was made anew is looked up anew.
	fake.fail, fake.calls = "", nil
	jobs := fake.queues["jobs"]
	delete(fake.queues, "jobs")
	q := epu.SensorQuery{Queue: "jobs", Region: "us-east-1", Endpoint: server.URL}
	if _, err := p.SQS(t.Context(), q); epu.KindOf(err) != epu.NotFound {
		t.Errorf("deleted: got %v", err)
	}
	fake.queues["jobs"] = jobs
	if got, err := p.SQS(t.Context(), q); err != nil || got != 990 || fake.calls[1] != "GetQueueUrl" {
		t.Errorf("made anew: got %v, %v after %v", got, err, fake.calls)
	}
}

func TestCloudWatch(t *testing.T) {
	p := puller(t)
	fake := &fakeCloudWatch{t: t}
	server := httptest.NewServer(fake)
	defer server.Close()
	noon := now.Truncate(time.Minute).Unix()
	q := epu.SensorQuery{
		Namespace: "AWS/SQS", Metric: "ApproximateNumberOfMessagesVisible", Statistic: "Sum", Dimensions: map[string]string{"QueueName": "jobs"},
		Period: time.Minute, Region: "us-east-1", Endpoint: server.URL,
	}
	// The minute that still runs does not count; the order is Amazon's, which is none.
	fake.points = cbor.List{datapoint(noon-120, "Sum", 7), datapoint(noon, "Sum", 1), datapoint(noon-60, "Sum", 9)}
	value, age, err := p.CloudWatch(t.Context(), q)
	if err != nil || value != 9 || age != 30*time.Second {
		t.Errorf("got %v, %v, %v, want 9 as of 30 s ago", value, age, err)
	}
	if fake.asked["MetricName"] != cbor.String("ApproximateNumberOfMessagesVisible") || fake.asked["Period"] != cbor.Uint(60) {
		t.Errorf("asked %v", fake.asked)
	}
	for _, c := range []struct {
		name  string
		alter func(*epu.SensorQuery)
		kind  epu.Kind
		wants string
	}{
		{"nothing finished", func(*epu.SensorQuery) { fake.points = fake.points[1:2] }, epu.NotFound, "no period"},
		{"another statistic", func(q *epu.SensorQuery) {
			fake.points = cbor.List{datapoint(noon-120, "Sum", 7)}
			q.Statistic = "Average"
		}, epu.Unavailable, "no Average"},
		{"no statistic", func(q *epu.SensorQuery) { q.Statistic = "Median" }, epu.Invalid, "no statistic"},
		{"denied", func(*epu.SensorQuery) { fake.fail = "AccessDenied" }, epu.Denied, "said the fake"},
		{"throttled", func(*epu.SensorQuery) { fake.fail = "Throttling" }, epu.Throttled, "said the fake"},
	} {
		q := q
		c.alter(&q)
		_, _, err := p.CloudWatch(t.Context(), q)
		if epu.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s: got %v of kind %v, want %v with %q", c.name, err, epu.KindOf(err), c.kind, c.wants)
		}
	}
}

func TestNoRegionAndNoCredentials(t *testing.T) {
	p := puller(t)
	_, err := p.SQS(t.Context(), epu.SensorQuery{Queue: "jobs"})
	if epu.KindOf(err) != epu.Invalid || !strings.Contains(err.Error(), "region") {
		t.Errorf("without a region: got %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	_, err = p.SQS(t.Context(), epu.SensorQuery{Queue: "jobs", Region: "us-east-1", Endpoint: "http://127.0.0.1:1"})
	if epu.KindOf(err) != epu.Denied {
		t.Errorf("without credentials: got %v of kind %v", err, epu.KindOf(err))
	}
}
