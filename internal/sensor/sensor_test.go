package sensor_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/sensor"
)

// Goal: each source gives its number, and whatever is not a number gives unknown with a reason and a kind.
// Method: a real HTTP server with the answers of the real ones, and real programs.

func pull(t *testing.T, spec epu.SensorSpec) (float64, error) {
	t.Helper()
	p := sensor.New(sensor.Options{Getenv: func(name string) string {
		return map[string]string{"TOKEN": "s3cret"}[name]
	}})
	defer p.Close()
	point, err := p.Pull(t.Context(), spec)
	if point.Unknown != (err != nil) || err != nil && point.Fault == "" {
		t.Errorf("got %+v with error %v", point, err)
	}
	if err != nil && strings.Contains(err.Error()+point.Fault, "s3cret") {
		t.Errorf("the secret is in the error: %v", err)
	}
	return point.Value, err
}

// check compares with a wanted value, or with a kind and a piece of the error's text.
func check(t *testing.T, name string, got float64, err error, want float64, kind epu.Kind, text string) {
	t.Helper()
	switch {
	case text == "" && (err != nil || got != want):
		t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
	case text != "" && (err == nil || epu.KindOf(err) != kind || !strings.Contains(err.Error(), text)):
		t.Errorf("%s: got %v, %v of kind %v, want kind %v with %q", name, got, err, epu.KindOf(err), kind, text)
	}
}

func TestPrometheus(t *testing.T) {
	result := func(kind, result string) string {
		return fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, result)
	}
	for _, c := range []struct {
		name, body string
		status     int
		want       float64
		kind       epu.Kind
		text       string
	}{
		{"scalar", result("scalar", `[1.5,"12.25"]`), 200, 12.25, 0, ""},
		{"vector", result("vector", `[{"metric":{},"value":[1,"0"]}]`), 200, 0, 0, ""},
		{"exponent", result("vector", `[{"metric":{},"value":[1,"1e+06"]}]`), 200, 1e6, 0, ""},
		{"empty", result("vector", `[]`), 200, 0, epu.NotFound, "empty"},
		{"several", result("vector", `[{"metric":{"__name__":"q","host":"a"},"value":[1,"1"]},{"metric":{"__name__":"q","host":"b"},"value":[1,"2"]}]`), 200, 0, epu.Invalid, `q{host="a"}, q{host="b"}`},
		{"nan", result("scalar", `[1,"NaN"]`), 200, 0, epu.Unavailable, "NaN"},
		{"infinite", result("scalar", `[1,"+Inf"]`), 200, 0, epu.Unavailable, "Inf"},
		{"histogram", result("vector", `[{"metric":{},"histogram":[1,{"count":"1"}]}]`), 200, 0, epu.Invalid, "no plain value"},
		{"matrix", result("matrix", `[]`), 200, 0, epu.Invalid, "matrix"},
		{"partial", `{"status":"success","warnings":["remote read failed"],"data":{"resultType":"scalar","result":[1,"3"]}}`, 200, 0, epu.Unavailable, "remote read failed"},
		{"bad query", `{"status":"error","errorType":"bad_data","error":"parse error at char 3"}`, 400, 0, epu.Invalid, "parse error at char 3"},
		{"overloaded", `{"status":"error","errorType":"timeout","error":"query timed out"}`, 503, 0, epu.Unavailable, "query timed out"},
		{"no prometheus", `<html>`, 200, 0, epu.Invalid, "not that of Prometheus"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/prom/api/v1/query" || r.FormValue("query") != `sum(q{a="b"})` || r.Header.Get("Authorization") != "Bearer s3cret" {
				http.Error(w, "unexpected "+r.URL.String(), http.StatusTeapot)
				return
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		got, err := pull(t, epu.SensorSpec{Source: epu.SourcePrometheus, Query: epu.SensorQuery{
			URL: server.URL + "/prom/", Expr: `sum(q{a="b"})`, BearerToken: epu.Var{From: "env:TOKEN", Secret: true},
		}})
		check(t, c.name, got, err, c.want, c.kind, c.text)
		server.Close()
	}
}

// Goal: an error names an address that can be copied, also of a server that is given without a path.
func TestPrometheusNamesItsAddress(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	for _, path := range []string{"", "/", "/prom", "/prom/"} {
		_, err := pull(t, epu.SensorSpec{Source: epu.SourcePrometheus, Query: epu.SensorQuery{URL: server.URL + path, Expr: "up"}})
		if want := server.URL + strings.TrimSuffix(path, "/") + "/api/v1/query"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s in it", path, err, want)
		}
	}
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/doc", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"a/b":{"m~n":[1,{"left":17.5}]},"null":null,"text":"5","huge":1e999}`)
	})
	mux.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "42\n") })
	mux.HandleFunc("/header", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, len(r.Header.Get("X-Api-Key")))
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/plain", http.StatusFound) })
	mux.HandleFunc("/denied", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", 2<<20)+"1") })
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mux.HandleFunc("/two", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1 2") })
	for _, c := range []struct {
		path, field string
		want        float64
		kind        epu.Kind
		text        string
	}{
		{"/doc", "/a~1b/m~0n/1/left", 17.5, 0, ""},
		{"/doc", "/a~1b/m~0n/0", 1, 0, ""},
		{"/doc", "/a~1b/m~0n/01", 0, epu.Invalid, "no item"},
		{"/doc", "/a~1b/m~0n/2", 0, epu.Invalid, "list"},
		{"/doc", "/missing", 0, epu.Invalid, `no member "missing"`},
		{"/doc", "/null", 0, epu.Invalid, "is null"},
		{"/doc", "/text", 0, epu.Invalid, "a string"},
		{"/doc", "/huge", 0, epu.Invalid, "no number"},
		{"/doc", "", 0, epu.Invalid, "an object"},
		{"/plain", "", 42, 0, ""},
		{"/plain?token=hidden", "/a", 0, epu.Invalid, server.URL + "/plain:"},
		{"/header", "", 6, 0, ""},
		{"/login", "", 0, epu.Invalid, "302"},
		{"/denied", "", 0, epu.Denied, "403"},
		{"/none", "", 0, epu.NotFound, "404"},
		{"/broken", "", 0, epu.Unavailable, "500"},
		{"/large", "", 0, epu.Invalid, "larger than"},
		{"/two", "", 0, epu.Invalid, "not one JSON document"},
	} {
		got, err := pull(t, epu.SensorSpec{Source: epu.SourceHTTP, Query: epu.SensorQuery{
			URL: server.URL + c.path, Field: c.field, Headers: map[string]epu.Var{"X-Api-Key": {From: "env:TOKEN", Secret: true}},
		}})
		check(t, c.path+" "+c.field, got, err, c.want, c.kind, c.text)
	}
	_, err := pull(t, epu.SensorSpec{Source: epu.SourceHTTP, Query: epu.SensorQuery{URL: server.URL + "/plain", BearerToken: epu.Var{From: "env:NONE"}}})
	check(t, "no secret", 0, err, 0, epu.Denied, "env:NONE")
	gone := httptest.NewServer(mux)
	gone.Close()
	_, err = pull(t, epu.SensorSpec{Source: epu.SourceHTTP, Query: epu.SensorQuery{URL: gone.URL + "/?key=hidden"}})
	check(t, "gone", 0, err, 0, epu.Unavailable, "refused")
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("the query is in the error: %v", err)
	}
	secure := httptest.NewTLSServer(mux)
	defer secure.Close()
	_, err = pull(t, epu.SensorSpec{Source: epu.SourceHTTP, Query: epu.SensorQuery{URL: secure.URL + "/plain"}})
	check(t, "unknown authority", 0, err, 0, epu.Denied, "certificate")
}

func TestASilentServerIsUnknownInTime(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(hang)
	_, err := pull(t, epu.SensorSpec{Source: epu.SourceHTTP, Timeout: 50 * time.Millisecond, Query: epu.SensorQuery{URL: server.URL}})
	check(t, "hang", 0, err, 0, epu.Unavailable, "no answer within 50ms")
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) []string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return []string{path, "$(echo 9)"}
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		command []string
		want    float64
		kind    epu.Kind
		text    string
	}{
		{"number", script("number", "echo ' 12.5 '\n"), 12.5, 0, ""},
		{"no shell", script("args", `[ "$1" = '$(echo 9)' ] && echo 1`), 1, 0, ""},
		{"said on stderr", script("noise", "echo warning >&2; echo 3"), 3, 0, ""},
		{"unknown", script("unknown", "echo unknown"), 0, epu.Unavailable, "does not know"},
		{"silent", script("silent", "true"), 0, epu.Invalid, "empty"},
		{"words", script("words", "echo 3 jobs"), 0, epu.Invalid, `"3 jobs" is no number`},
		{"hexadecimal", script("hex", "echo 0x10"), 0, epu.Invalid, "is no number"},
		{"nan", script("nan", "echo nan"), 0, epu.Unavailable, "NaN"},
		{"failed", script("failed", "echo 5; echo no such queue >&2; exit 3"), 0, epu.Unavailable, "exit status 3: no such queue"},
		{"endless", script("endless", "while :; do echo 1; done"), 0, epu.Invalid, "more than 4096 bytes"},
		{"missing", []string{dir + "/none"}, 0, epu.NotFound, "no such file"},
		{"not allowed", []string{plain}, 0, epu.Denied, "permission denied"},
		{"none", nil, 0, epu.Invalid, "names no program"},
	} {
		got, err := pull(t, epu.SensorSpec{Source: epu.SourceCommand, Query: epu.SensorQuery{Command: c.command}})
		check(t, c.name, got, err, c.want, c.kind, c.text)
	}
}

// Goal: nothing of a sensor's program outlives its deadline, and what it left running ends with it.
// Method: the program and a child of it hold a pipe open; the pipe's end is seen when both are gone.
func TestACommandsGroupEnds(t *testing.T) {
	for name, script := range map[string]string{
		"deadline":  `sleep 1000 & sleep 1000`,
		"left over": `sleep 1000 >/dev/null 2>&1 & echo 4`,
	} {
		fifo := filepath.Join(t.TempDir(), "held")
		if err := mkfifo(fifo); err != nil {
			t.Fatal(err)
		}
		gone := make(chan error, 1)
		go func() {
			_, err := os.ReadFile(fifo) // until the last writer is gone
			gone <- err
		}()
		// Opening the pipe waits for its reader, so all programs hold it before the time is over.
		_, err := pull(t, epu.SensorSpec{Source: epu.SourceCommand, Timeout: 2 * time.Second, Query: epu.SensorQuery{
			Command: []string{"/bin/sh", "-c", "exec 9>" + fifo + "; " + script},
		}})
		if (err != nil) != (name == "deadline") {
			t.Errorf("%s: got %v", name, err)
		}
		if err := <-gone; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPushedSensorIsNotPulled(t *testing.T) {
	p := sensor.New(sensor.Options{})
	defer p.Close()
	point, err := p.Pull(context.Background(), epu.SensorSpec{Source: epu.SourcePush})
	if !point.Unknown || epu.KindOf(err) != epu.Invalid {
		t.Errorf("got %+v, %v", point, err)
	}
}
