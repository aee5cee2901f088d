package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/secret"
)

// Goal: a secret comes from where its reference points, and a bad reference is told without the secret.
// Method: a table over both places, good and bad.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + path
	}
	env := map[string]string{"TOKEN": "t0p"}
	for _, c := range []struct {
		v    epu.Var
		want string
		kind epu.Kind
	}{
		{epu.Var{Value: "plain"}, "plain", 0},
		{epu.Var{From: "env:TOKEN"}, "t0p", 0},
		{epu.Var{From: write("good", "s3cret\n")}, "s3cret", 0},
		{epu.Var{From: "env:NONE"}, "", epu.Denied},
		{epu.Var{From: write("empty", "\n")}, "", epu.Denied},
		{epu.Var{From: write("large", strings.Repeat("x", secret.BytesMax+1))}, "", epu.Denied},
		{epu.Var{From: "file:" + dir + "/none"}, "", epu.Denied},
		{epu.Var{From: "vault:x"}, "", epu.Invalid},
	} {
		got, err := secret.Read(c.v, func(name string) string { return env[name] })
		if got != c.want || (err != nil) != (c.kind != 0) || err != nil && epu.KindOf(err) != c.kind {
			t.Errorf("%+v: got %q, %v, want %q and kind %v", c.v, got, err, c.want, c.kind)
		}
		if err != nil && (strings.Contains(err.Error(), "xxx") || !strings.Contains(err.Error(), c.v.From)) {
			t.Errorf("%+v: got the text %q", c.v, err)
		}
	}
}
