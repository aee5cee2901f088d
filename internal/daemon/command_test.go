package daemon_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/daemon"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// command runs epud's command line and gives its exit code and what it wrote.
func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := cli.Env{Getenv: func(string) string { return "" }, Dir: t.TempDir(), Now: time.Now}
	code = daemon.Main(context.Background(), args, nil, cli.IO{In: strings.NewReader(""), Out: &stdout, Err: &stderr}, env)
	return code, stdout.String(), stderr.String()
}

// Goal: each mistake ends with its exit code, says what is wrong without Go's words, and what to do.
// Method: mistakes of all commands that start nothing.
func TestCommandMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("lsten: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		code int
		want string
		try  string
	}{
		{"rnu", 4, `unknown command "rnu"`, "did you mean: epud run"},
		{"journal chek", 4, `epud journal has no command "chek"`, "did you mean: epud journal check"},
		{"config shw", 4, `epud config has no command "shw"`, "epud config show"},
		{"run --lisen x", 4, "unknown flag: --lisen", "--listen"},
		{"run extra", 4, `got "extra"`, "epud run --help"},
		{"run --tick 5", 4, `"5" has no unit`, "5s"},
		{"run -c " + file, 4, file + ":1: lsten: unknown key", "did you mean listen?"},
		{"validate -f " + dir + "/nowhere", 4, "nowhere: no such file or directory", "name a file or folder"},
		{"journal check", 4, "--data-dir is missing", "--data-dir"},
		{"journal check --data-dir " + dir, 11, "no such file or directory", "name the data folder"},
		{"journal dump --data-dir " + dir, 11, "no such file or directory", "name the data folder"},
		{"journal backup --data-dir " + dir, 4, "takes one FILE", "--help"},
		{"journal backup --data-dir " + dir + " " + dir + "/b", 11, "no such file or directory", "name the data folder"},
		{"journal restore --data-dir " + dir + " " + dir + "/none", 4, "no such file or directory", "name a backup"},
		{"journal restore --data-dir " + dir + " --epoch-floor x b", 4, `"x" is no whole number`, "--epoch-floor"},
		{"run --data-dir " + file + "/x", 10, "not a directory", "epud config show --origin"},
	} {
		code, out, errs := command(t, strings.Fields(tt.args)...)
		_, try, _ := strings.Cut(errs, "try: ")
		if code != tt.code || !strings.Contains(errs, tt.want) || !strings.Contains(try, tt.try) || out != "" {
			t.Errorf("epud %s: got %d\n%s%swant %d with %q and after try: %q", tt.args, code, out, errs, tt.code, tt.want, tt.try)
		}
		for _, word := range []string{"lstat", "open /", "mkdir", "strconv", "epumgmt doctor"} {
			if strings.Contains(errs, word+" ") {
				t.Errorf("epud %s: %q is no word for operators:\n%s", tt.args, word, errs)
			}
		}
	}
}

// Goal: whoever mends files hears everything at once: slips of form, names that nothing has, what the
// policy says of its configuration, and sensors that it would miss. Method: a folder with one of each.
func TestValidateSaysEverything(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", "schema: epu/v1\nkind: site\nname: local\ndriver: sim\n---\nschema: epu/v1\nkind: deployable-tipe\nname: sleeper\n")
	write("b.yaml", `schema: epu/v1
kind: pool
name: epu-one
deployable_type: sleeper
placement: [{site: lokal}]
tick: 5
policy:
  conf:
    preserve_n: -2
    colour: red
---
schema: epu/v1
kind: pool
name: epu-two
deployable_type: sleper
placement: [{site: local}]
limits: {max: 5}
sensors:
  queue-lenght: {source: push}
policy: {name: queuelen}
---
schema: epu/v1
kind: pool
name: epu-three
deployable_type: sleeper
placement: [{site: local}]
limits: {max: 5}
policy:
  name: schedule
  conf:
    zone: Europe/Berln
    lines:
      - {cron: "0 8 * *", count: 1}
      - cron: "0 8 * * *"
        name: no count
      - {cron: "0 8 * * *", count: 1, zone: Mars}
---
schema: epu/v1
kind: pool
name: epu-four
deployable_type: sleeper
placement: [{site: local}]
limits: {max: 5}
policy:
  name: sites
  conf:
    preserve_n: 1
    clouds:
      - {site_name: local}
      - site: local
        size: lots
`)
	code, _, errs := command(t, "validate", "-f", dir)
	if code != 4 {
		t.Errorf("got %d, want 4", code)
	}
	at := 0
	for _, want := range []string{
		"a.yaml:4", "sim is for tests and simulations", "local", "a.yaml:7", "did you mean deployable-type?",
		"b.yaml:5", "there is no site lokal", "did you mean local?", "b.yaml:6", "has no unit",
		"b.yaml:9", "must be at least 0", "b.yaml:10", "is no parameter of the policy",
		"b.yaml:15", "there is no deployable type sleper", "b.yaml:20", "reads the sensor queue-length", "did you mean queue-lenght?",
		"b.yaml:31: policy.conf.zone: no time zone 'Europe/Berln'", "b.yaml:33: policy.conf.lines[0].cron: ", "b.yaml:34: policy.conf.lines[1].count: is required",
		"b.yaml:36: policy.conf.lines[2].zone: no time zone 'Mars'",
		"b.yaml:50: policy.conf.clouds[1].site: 'local' stands twice", "b.yaml:51: policy.conf.clouds[1].size: must be a whole number",
	} {
		i := strings.Index(errs[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing, or not in its place:\n%s", want, errs)
		}
		at += i
	}
}

// Goal: a store goes into a backup and comes back in a higher epoch than any that is known.
// Method: backup and restore of a new store, beside it and into an empty folder, with and without a floor.
func TestBackupAndRestore(t *testing.T) {
	old, empty := t.TempDir(), t.TempDir()
	j, err := badger.Open(filepath.Join(old, "journal"), badger.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "epu.backup")
	for _, tt := range []struct {
		args       []string
		want, note string
	}{
		{[]string{"backup", "--data-dir", old, backup}, "", ""},
		{[]string{"check", "--data-dir", old}, "epoch 1: 0 streams, 0 events", ""},
		{[]string{"restore", "--data-dir", old, backup}, "the store is now in epoch 2 and in recovery", "epumgmt sweep"},
		{[]string{"restore", "--data-dir", old, backup}, "the store is now in epoch 3 and in recovery", "epumgmt sweep"},
		{[]string{"restore", "--data-dir", empty, backup}, "the store is now in epoch 2 and in recovery", "restore again with --epoch-floor"},
		{[]string{"restore", "--data-dir", t.TempDir(), "--epoch-floor", "7", backup}, "the store is now in epoch 8 and in recovery", "epumgmt sweep"},
	} {
		code, out, errs := command(t, append([]string{"journal"}, tt.args...)...)
		if code != 0 || !strings.Contains(out, tt.want) || !strings.Contains(errs, tt.note) {
			t.Errorf("epud journal %v: got %d\n%s%swant 0 with %q and %q", tt.args, code, out, errs, tt.want, tt.note)
		}
	}
}
