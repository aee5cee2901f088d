package aws_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/smithy-go/encoding/cbor"
)

// fakeSQS answers as Amazon's documentation of the AWS JSON protocol for SQS says: the operation stands
// in X-Amz-Target, errors are 400 with the name behind "#" in __type.
type fakeSQS struct {
	t      *testing.T
	url    string
	queues map[string]map[string]string // attributes by the queue's name
	fail   string                       // an error's name, for every request
	calls  []string
}

func (f *fakeSQS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		QueueName, QueueUrl string
		AttributeNames      []string
	}
	operation, ours := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !ours || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIATEST/") {
		f.t.Errorf("got a request that is not signed JSON: %v %v %v", r.Header, in, err)
	}
	f.calls = append(f.calls, operation)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	refuse := func(name string) {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#" + name, "message": "said the fake"})
	}
	name := in.QueueName
	if name == "" {
		name = in.QueueUrl[strings.LastIndex(in.QueueUrl, "/")+1:]
	}
	queue, known := f.queues[name]
	switch {
	case f.fail != "":
		refuse(f.fail)
	case !known:
		refuse("QueueDoesNotExist")
	case operation == "GetQueueUrl":
		_ = json.NewEncoder(w).Encode(map[string]string{"QueueUrl": f.url + "/123456789012/" + name})
	case operation == "GetQueueAttributes":
		out := map[string]string{}
		for _, a := range in.AttributeNames {
			if v, ok := queue[a]; ok {
				out[a] = v
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Attributes": out})
	default:
		refuse("UnsupportedOperation")
	}
}

// fakeCloudWatch answers as the documentation of the Smithy RPC v2 CBOR protocol says: the operation is
// the path's end, times are epoch seconds under tag 1, errors carry their name in __type.
type fakeCloudWatch struct {
	t      *testing.T
	points cbor.List
	asked  cbor.Map
	fail   string
}

func (f *fakeCloudWatch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	in, err := cbor.Decode(body)
	asked, isMap := in.(cbor.Map)
	if err != nil || !isMap || !strings.HasSuffix(r.URL.Path, "/operation/GetMetricStatistics") || r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" {
		f.t.Errorf("got a request that is not CBOR: %s %v %v", r.URL, r.Header, err)
	}
	f.asked = asked
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
	answer := cbor.Map{"Label": cbor.String("x"), "Datapoints": f.points}
	if f.fail != "" {
		w.WriteHeader(http.StatusBadRequest)
		answer = cbor.Map{"__type": cbor.String("com.amazonaws.cloudwatch#" + f.fail), "message": cbor.String("said the fake")}
	}
	_, _ = w.Write(cbor.Encode(answer))
}

// datapoint is one period's statistic.
func datapoint(unix int64, statistic string, value float64) cbor.Map {
	return cbor.Map{"Timestamp": cbor.Tag{ID: 1, Value: cbor.Float64(unix)}, statistic: cbor.Float64(value), "Unit": cbor.String("Count")}
}
