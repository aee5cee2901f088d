package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/golden"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// Goal: reference and examples say what the tables say. Method: golden files where users find them.
func TestReferenceIsCurrent(t *testing.T) {
	for path, got := range map[string]string{
		"docs/reference/epud-config.md":    NodeReference(),
		"docs/reference/epumgmt-config.md": ClientReference(),
		"examples/epud.yaml":               NodeExample(),
		"examples/config.yaml":             ClientExample(),
	} {
		golden.Check(t, filepath.Join("..", "..", filepath.FromSlash(path)), got, *rewrite)
	}
}

// Goal: every key is documented in the form that the reference needs. Method: look at the tables.
func TestTables(t *testing.T) {
	for name, keys := range map[string][]key{"node": nodeKeys(), "client": clientKeys()} {
		flags := map[string]string{"config": "reserved", "profile": "reserved"}
		for _, k := range keys {
			if k.doc == "" || strings.HasSuffix(k.doc, ".") || strings.Contains(k.doc, "|") {
				t.Errorf("%s %s: got doc %q, want a sentence without a full stop", name, k.name, k.doc)
			}
			if numeric := k.kind == whole || k.kind == size || k.kind == duration; numeric && (k.unit == "" || k.high <= k.low) {
				t.Errorf("%s %s: got unit %q and range %d to %d, want both", name, k.name, k.unit, k.low, k.high)
			}
			if !regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)?$`).MatchString(k.name) {
				t.Errorf("%s: got key %q, want lower case (viper folds it) and at most one section", name, k.name)
			}
			if other := flags[k.flag()]; other != "" {
				t.Errorf("%s %s: its flag --%s is also that of %s", name, k.name, k.flag(), other)
			}
			flags[k.flag()] = k.name
		}
	}
}

// uncomment removes the hash in front of settings; text has exactly one blank after it.
func uncomment(s string) string {
	return regexp.MustCompile(`(?m)^#([^ \n]|  )`).ReplaceAllString(s, "$1")
}

// Goal: the example shows the defaults, and every line of it works when its hash is removed. Method:
// load it as it is and with every hash removed.
func TestExamplesLoad(t *testing.T) {
	plain, _, err := LoadNode(NodeOptions{Path: "../../examples/epud.yaml", Hostname: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "epud.yaml")
	if err := os.WriteFile(file, []byte(uncomment(NodeExample())), 0o644); err != nil {
		t.Fatal(err)
	}
	full, origins, err := LoadNode(NodeOptions{Path: file, Hostname: "other"})
	if err != nil {
		t.Fatalf("%v\n%s", err, uncomment(NodeExample()))
	}
	if diff := cmp.Diff(plain, full); diff != "" {
		t.Errorf("(-defaults +example)\n%s", diff)
	}
	for _, o := range origins {
		if o.Source != FromFile {
			t.Errorf("%s: got source %s, want that the example has the key", o.Key, o.Source)
		}
	}
	if _, _, err := LoadClient(ClientOptions{Path: "../../examples/config.yaml"}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte(uncomment(ClientExample())), 0o644); err != nil {
		t.Fatal(err)
	}
	c, _, err := LoadClient(ClientOptions{Path: file})
	if err != nil {
		t.Fatalf("%v\n%s", err, uncomment(ClientExample()))
	}
	want := Client{
		Node: "epu.example.org:7420", User: "anna", Timeout: 10 * time.Second, Profile: "production", File: file,
		TLS: ClientTLS{CA: filepath.Dir(file) + "/ca.pem", Cert: filepath.Dir(file) + "/anna.pem", Key: filepath.Dir(file) + "/anna.key"},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// sample is the n-th valid value of a key that is no default, as text.
func sample(k *key, n int) string {
	switch k.kind {
	case address:
		return []string{"127.0.0.1:1", "[::1]:2", "localhost:3"}[n]
	case link:
		return []string{"http://a:1", "https://b", "http://c"}[n]
	case boolean:
		return []string{"true", "false", "true"}[n]
	case whole:
		return []string{"7", "8", "9"}[n]
	case size:
		return []string{"32MiB", "33MiB", "34MiB"}[n]
	case duration:
		return []string{"2s", "3s", "4s"}[n]
	case word:
		return k.words[(n+1)%len(k.words)]
	}
	return []string{"/a", "/b", "/c"}[n]
}

// Goal: flag > environment > file > default, for every key there is; nested ones too, which Viper alone
// would not find in the environment. Method: each key in each combination of layers; a problem of
// another setting (TLS without its key) does not matter here.
func TestPrecedence(t *testing.T) {
	for _, k := range nodeKeys() {
		for layers := range 8 {
			opts := NodeOptions{Dev: true, Hostname: "h"}
			want, source, where := "", FromDefault, ""
			if layers&1 != 0 {
				line := k.name + ": " + sample(&k, 0)
				if section, last, found := strings.Cut(k.name, "."); found {
					line = section + ":\n  " + last + ": " + sample(&k, 0)
				}
				opts.Path = filepath.Join(t.TempDir(), "epud.yaml")
				if err := os.WriteFile(opts.Path, []byte(line), 0o644); err != nil {
					t.Fatal(err)
				}
				lines := strings.Count(line, "\n") + 1
				want, source, where = sample(&k, 0), FromFile, opts.Path+":"+string(rune('0'+lines))
			}
			if layers&2 != 0 {
				opts.Environ = []string{k.env() + "=" + sample(&k, 1)}
				want, source, where = sample(&k, 1), FromEnvironment, k.env()
			}
			if layers&4 != 0 {
				opts.Flags = pflag.NewFlagSet("epud", pflag.ContinueOnError)
				AddNodeFlags(opts.Flags)
				if err := opts.Flags.Parse([]string{"--" + k.flag() + "=" + sample(&k, 2)}); err != nil {
					t.Fatal(err)
				}
				want, source, where = sample(&k, 2), FromFlag, "--"+k.flag()
			}
			_, origins, err := LoadNode(opts)
			var problems *Error
			if err != nil && !errors.As(err, &problems) {
				t.Fatalf("%s: %v", k.name, err)
			}
			for _, o := range origins {
				if o.Key != k.name {
					continue
				}
				if layers == 0 {
					want = o.Value
				}
				if diff := cmp.Diff(Origin{Key: k.name, Value: want, Source: source, Where: where}, o); diff != "" {
					t.Errorf("%s with layers %03b (-want +got)\n%s", k.name, layers, diff)
				}
			}
		}
	}
}

// Goal: what the origins show is what the struct holds. Method: every layer once, against a whole struct.
func TestNodeValues(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "epud.yaml")
	content := "http: 0.0.0.0:7421\nagent_url: https://epu.example.org\ntls: {cert: tls/node.pem, key: /k, client_ca: ca.pem}\nhistory: {max_bytes: 2GiB}\n"
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("epud", pflag.ContinueOnError)
	AddNodeFlags(flags)
	if err := flags.Parse([]string{"-c", file, "--insecure", "--data-dir", "here", "--history-days=7"}); err != nil {
		t.Fatal(err)
	}
	got, _, err := LoadNode(NodeOptions{
		Flags: flags, Hostname: "n7",
		Environ: []string{"EPU_LOG_LEVEL=debug", "EPU_TICK=250ms", "EPU_LISTEN=", "EPU_USER_DATA=/x", "EPU_NODE=other:1", "PATH=/bin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Node{
		Node: Identity{Name: "n7"}, DataDir: "here", Listen: "127.0.0.1:7420", HTTP: "0.0.0.0:7421", AgentURL: "https://epu.example.org",
		Insecure: true, TLS: NodeTLS{Cert: dir + "/tls/node.pem", Key: "/k", ClientCA: dir + "/ca.pem"},
		Tick: 250 * time.Millisecond, Log: Log{Level: "debug", Format: "auto"},
		History: History{Days: 7, MaxBytes: 2 << 30}, Journal: Journal{Memory: "default"}, ShutdownTimeout: 20 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	dev, _, err := LoadNode(NodeOptions{Dev: true, Environ: []string{"EPU_HTTP=127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	if dev.DataDir != ".epu" || dev.Node.Name != "localhost" || dev.AgentURL != "" {
		t.Errorf("epud dev: got %+v, want its own defaults, and no URL before the port is known", dev)
	}
}

// Goal: every mistake gives its message with file and line, in one run. Method: golden files.
func TestProblems(t *testing.T) {
	load := map[string]func() error{
		"five-mistakes": func() error {
			_, _, err := LoadNode(NodeOptions{Path: "testdata/five-mistakes.yaml"})
			return err
		},
		"more-mistakes": func() error {
			_, _, err := LoadNode(NodeOptions{Path: "testdata/more-mistakes.yaml"})
			return err
		},
		"pool": func() error {
			_, _, err := LoadNode(NodeOptions{Path: "testdata/pool.yaml"})
			return err
		},
		"missing": func() error {
			_, _, err := LoadNode(NodeOptions{Path: "testdata/no-such-file.yaml"})
			return err
		},
		"surroundings": func() error {
			flags := pflag.NewFlagSet("epud", pflag.ContinueOnError)
			AddNodeFlags(flags)
			if err := flags.Parse([]string{"--shutdown-timeout=5", "--http", "unix:/run/epu", "--tls-client-ca=ca"}); err != nil {
				return err
			}
			_, _, err := LoadNode(NodeOptions{Dev: true, Flags: flags, Environ: []string{
				"EPU_TICK=0", "EPU_LOG_LEVL=debug", "EPU_HISTORY_MAX_BYTES=1000", "EPU_JOURNAL_MEMORY=huge", "EPU_TLS_KEY=k", "EPU_LISTEN=:7420",
			}})
			return err
		},
		"client-mistakes": func() error {
			_, _, err := LoadClient(ClientOptions{Path: "testdata/client-mistakes.yaml"})
			return err
		},
		"client-surroundings": func() error {
			env := map[string]string{"EPU_PROFILE": "x", "EPU_TIMEOUT": "1", "EPU_CONFIG": "testdata/none.yaml", "EPU_TLS_CERT": "a"}
			_, _, err := LoadClient(ClientOptions{Getenv: func(s string) string { return env[s] }})
			return err
		},
		"client-profile": func() error {
			_, _, err := LoadClient(ClientOptions{Path: "../../examples/config.yaml", Profile: "x"})
			return err
		},
	}
	for name, f := range load {
		err := f()
		var all *Error
		if !errors.As(err, &all) || epu.KindOf(err) != epu.Invalid {
			t.Errorf("%s: got %v of kind %s, want an *Error", name, err, epu.KindOf(err))
			continue
		}
		if name == "five-mistakes" && len(all.Problems) != 5 {
			t.Errorf("got %d problems, want 5:\n%v", len(all.Problems), err)
		}
		golden.Check(t, "testdata/"+name+".txt", err.Error()+"\n", *rewrite)
	}
}

// Goal: a client finds its file where people put it. Method: folders with and without one.
func TestClientFile(t *testing.T) {
	dir := t.TempDir()
	home, xdg := filepath.Join(dir, "home"), filepath.Join(dir, "xdg")
	for _, f := range []string{filepath.Join(home, ".config", "epu"), filepath.Join(xdg, "epu")} {
		if err := os.MkdirAll(f, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f, "config.yaml"), []byte("profiles: {Prod: {user: x}}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"EPU_CONFIG": "named", "XDG_CONFIG_HOME": xdg}, "named"},
		{map[string]string{"XDG_CONFIG_HOME": xdg, "HOME": home}, xdg + "/epu/config.yaml"},
		{map[string]string{"XDG_CONFIG_HOME": dir, "HOME": home}, ClientFile(func(string) string { return "" })},
		{map[string]string{"XDG_CONFIG_HOME": "relative", "HOME": home}, home + "/.config/epu/config.yaml"},
		{map[string]string{"HOME": home}, home + "/.config/epu/config.yaml"},
	} {
		if got := ClientFile(func(s string) string { return c.env[s] }); got != c.want {
			t.Errorf("%v: got %q, want %q", c.env, got, c.want)
		}
	}
	flags := pflag.NewFlagSet("epumgmt", pflag.ContinueOnError)
	AddClientFlags(flags)
	if err := flags.Parse([]string{"--profile", "Prod", "--timeout=1m"}); err != nil {
		t.Fatal(err)
	}
	got, origins, err := LoadClient(ClientOptions{Flags: flags, Login: "me", Getenv: func(s string) string {
		return map[string]string{"XDG_CONFIG_HOME": xdg, "EPU_NODE": "env:1"}[s]
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := Client{Node: "env:1", User: "x", Timeout: time.Minute, Profile: "Prod", File: xdg + "/epu/config.yaml"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got, want := origins[1].Where, xdg+"/epu/config.yaml:1"; got != want {
		t.Errorf("origin of user: got %q, want %q", got, want)
	}
}

// Goal: no file makes a load panic, or yield settings that the tables do not allow. Method: fuzzing;
// every value of an accepted file must parse again as what the origins show.
func FuzzNodeFile(f *testing.F) {
	f.Add([]byte(uncomment(NodeExample())))
	for _, name := range []string{"five-mistakes", "more-mistakes", "pool"} {
		content, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		l := newLayers(nodeKeys(), false, map[string]string{"node.name": "n"})
		l.nodeContent("f", content)
		var n Node
		if err := l.decode(&n); err != nil {
			t.Fatalf("%q: %v", content, err)
		}
		l.checkNode(n)
		if l.log.Len() > 0 {
			return
		}
		if n.DataDir == "" || n.Tick < 100*time.Millisecond || n.History.Days < 1 {
			t.Fatalf("%q: got %+v without a problem", content, n)
		}
		for i, o := range l.origins() {
			if _, fault := l.keys[i].parse(o.Value, ""); fault != nil {
				t.Fatalf("%q: %s shows %q, which is refused: %s", content, o.Key, o.Value, fault.Text)
			}
		}
	})
}

// Goal: the same for clients' files with their profiles. Method: fuzzing.
func FuzzClientFile(f *testing.F) {
	f.Add([]byte(uncomment(ClientExample())), "production")
	content, err := os.ReadFile("testdata/client-mistakes.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content, "")
	f.Fuzz(func(t *testing.T, content []byte, profile string) {
		l := newLayers(clientKeys(), false, nil)
		got := l.clientContent("f", content, [2]string{profile, "--profile"})
		if profile != "" && got != profile {
			t.Fatalf("got profile %q, want %q", got, profile)
		}
		var c clientValues
		if err := l.decode(&c); err != nil {
			t.Fatalf("%q: %v", content, err)
		}
		l.checkClient(c)
		if l.log.Len() == 0 && (c.Timeout < 100*time.Millisecond || c.Node == "") {
			t.Fatalf("%q: got %+v without a problem", content, c)
		}
	})
}
