package web

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the answers in docs/reference/http.md")

// example is a request and the answer below it: JSON with status 200, an error document, or text with
// the status in front.
var example = regexp.MustCompile("(?s)```text\n((?:GET|POST) [^`]*?)```\n\n```(json|text)\n(.*?)```\n")

// Goal: the reference shows what a node answers. Method: send every request on the page to a handler
// over known things, and compare; -rewrite puts the answers in.
func TestDocumentedExamples(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "reference", "http.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ready: []Condition{
		{Name: "registry", OK: true},
		{Name: "site east", Text: "has not been listed since the start: request timed out", Try: "epumgmt doctor"},
	}}
	s := serve(t, New(options(t, w)))
	sign := signer(t)
	secrets := strings.NewReplacer(
		"$BOOTSTRAP", sign.Bootstrap(installation, "default", "epu-web", launch),
		"$TOKEN", sign.Worker(installation, "default", "epu-web", worker),
	)
	n := 0
	got := example.ReplaceAllStringFunc(string(page), func(text string) string {
		n++
		parts := example.FindStringSubmatch(text)
		status, body, _ := send(t, s.URL, readRequest(t, secrets.Replace(parts[1])))
		kind, answer := "text", strconv.Itoa(status)+"\n"+body
		if strings.HasPrefix(body, "{") {
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, []byte(strings.TrimSpace(body)), "", "  "); err != nil {
				t.Fatal(err)
			}
			kind, answer = "json", pretty.String()+"\n"
		}
		if kind == "json" && strings.HasPrefix(body, `{"schema"`) == strings.Contains(parts[1], "/v1/agent/") {
			t.Errorf("%s: got %s", parts[1], body)
		}
		return "```text\n" + parts[1] + "```\n\n```" + kind + "\n" + strings.TrimRight(answer, "\n") + "\n```\n"
	})
	if requests := strings.Count(string(page), "```text\nGET ") + strings.Count(string(page), "```text\nPOST "); n != requests || n < 15 {
		t.Errorf("%d of %d requests have an answer below them", n, requests)
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), got); diff != "" {
		t.Errorf("%s is stale (-want +got); go test ./internal/web -rewrite\n%s", path, diff)
	}
}

// readRequest reads a request as the page writes it: method and path, headers, an empty line, the body.
func readRequest(t *testing.T, text string) request {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	r := request{header: map[string]string{}, body: strings.TrimSpace(body)}
	var ok bool
	if r.method, r.path, ok = strings.Cut(lines[0], " "); !ok {
		t.Fatalf("no request: %q", text)
	}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("no header: %q", line)
		}
		r.header[name] = value
	}
	return r
}

// Goal: every endpoint is in the reference. Method: compare with the routes.
func TestEveryEndpointIsDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	for path := range questions() {
		if !bytes.Contains(page, []byte("GET "+path)) {
			t.Errorf("%s is not in the reference", path)
		}
	}
}
