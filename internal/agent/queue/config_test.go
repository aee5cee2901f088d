package queue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Goal: settings come from flags, then the environment, then the file; everything wrong is said at once,
// and no password by way of an argument or an error.
// Method: load whole configurations and look at the result.

func load(t *testing.T, s Settings, env map[string]string) (Config, error) {
	t.Helper()
	c, _, err := Load(s, func(name string) string { return env[name] })
	return c, err
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	dir := t.TempDir()
	file, address := filepath.Join(dir, "agent.yaml"), filepath.Join(dir, "url")
	if err := os.WriteFile(file, []byte("amqp: file:"+address+"\npool: from-file\nqueue: [jobs, big=a=b]\nevery: 5s\nnode: [http://a:1]\nsensor: waiting\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(address, []byte("amqps://u:s3cret@mq.example/v\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, Settings{File: file, Every: "2s"}, map[string]string{"EPU_QUEUE_POOL": "from-env", "EPU_QUEUE_EVERY": "3s", "EPU_QUEUE_NODE": "http://b:1,http://c:1"})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		AMQP: "amqps://u:s3cret@mq.example/v", Pool: "from-env", Count: CountReady, Every: 2 * time.Second, Nodes: []string{"http://b:1", "http://c:1"},
		Sensors: []Sensor{{Name: "waiting", Queues: []string{"jobs"}}, {Name: "big", Queues: []string{"a=b"}}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEverythingWrongIsSaidAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte("queues: [jobs]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := load(t, Settings{
		File: file, AMQP: "amqp://u:s3cret@h", Pool: "a b", Queues: []string{"x=", "jobs", "jobs"}, Count: "all", Every: "5",
		Nodes: []string{"127.0.0.1:7421", "http://u:p@h"}, NodeCert: "/none", LogLevel: "loud",
	}, nil)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, piece := range []string{
		`queues: unknown key`, "--amqp: a password", `--pool: "a b"`, `"x=" names no queue`, `"jobs" is named twice`, "--count", `"5" has no unit`, "--node: it is no base address", "--node-cert", `"loud"`,
	} {
		if !strings.Contains(err.Error(), piece) {
			t.Errorf("got no problem with %q in:\n%v", piece, err)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the password is in the error: %v", err)
	}
}

func TestAPasswordComesByReferenceOrEnvironment(t *testing.T) {
	base := Settings{Pool: "p", Queues: []string{"q"}, Nodes: []string{"http://a:1"}}
	for _, c := range []struct {
		amqp string
		env  map[string]string
		good bool
	}{
		{"", map[string]string{"EPU_QUEUE_AMQP": "amqp://u:s3cret@h"}, true},
		{"env:MINE", map[string]string{"MINE": "amqp://u:s3cret@h"}, true},
		{"env:MINE", nil, false},
		{"env:MINE", map[string]string{"MINE": "http://u:s3cret@h"}, false},
		{"amqp://h/vhost", nil, true},
		{"amqp://u:s3cret@h", nil, false},
		{"file:/none/at/all", nil, false},
	} {
		s := base
		s.AMQP = c.amqp
		_, err := load(t, s, c.env)
		if (err == nil) != c.good || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q with %v: got %v", c.amqp, c.env, err)
		}
	}
}

func TestUnackedNeedsTheManagementAPI(t *testing.T) {
	s := Settings{AMQP: "amqp://h", Pool: "p", Queues: []string{"q"}, Nodes: []string{"http://a:1"}, Count: "total"}
	if _, err := load(t, s, nil); err == nil || !strings.Contains(err.Error(), "--management") {
		t.Errorf("got %v", err)
	}
	s.Management = "http://h:15672"
	if _, err := load(t, s, nil); err != nil {
		t.Error(err)
	}
}
