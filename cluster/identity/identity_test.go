package identity

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
)

const here epu.InstallationID = "01JD8Z5X9WQK2V7R3M4N5P6Q7R"

// fixed is a signer with a known key.
func fixed(b byte) *Signer {
	return newSigner(bytes.Repeat([]byte{b}, 32))
}

// Goal: a token's form is a contract that old workers hold us to. Method: two golden tokens.
func TestTokensStayAsTheyAre(t *testing.T) {
	s := fixed(1)
	for _, c := range []struct {
		got, want string
		claims    Claims
	}{
		{
			s.Bootstrap(here, "default", "epu-web", "epu-web-1-7"),
			"epu1.gQdkZWZhdWx0B2VwdS13ZWIDMS03.LL-K9d4_sO_wy-7LZD1Xugcripmro-d7En22YRFGZGewMZbrq4qGBez33jijplAyluDaTk8CUr_RpSFdRCqyBQ",
			Claims{Bootstrap, here, "default", "epu-web", "epu-web-1-7", ""},
		},
		{
			s.Worker(here, "default", "epu-web", "epu-web-1-7/3"),
			"epu1.ggdkZWZhdWx0B2VwdS13ZWIDMS03ATM.HZY6mC2382k2dRDrNT7D2niB85Ln592va2xO7u2GLYPlZKAbqArFw3ORWENQIbYF2c9_s5JeFVfBIfJRLxwrBQ",
			Claims{Worker, here, "default", "epu-web", "epu-web-1-7", "epu-web-1-7/3"},
		},
	} {
		if c.got != c.want {
			t.Errorf("got token %s, want %s", c.got, c.want)
		}
		if claims, err := s.Verify(here, c.got); err != nil || claims != c.claims {
			t.Errorf("Verify: got %+v, %v, want %+v", claims, err, c.claims)
		}
	}
}

// Goal: what was signed is what is read, for any names that files may give; nobody else's key or
// installation is believed; tokens are short and fit into a URL. Method: random names.
func TestRoundTrip(t *testing.T) {
	name := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,62}`)
	s, other := fixed(1), fixed(2)
	rapid.Check(t, func(t *rapid.T) {
		pool := epu.PoolID(name.Draw(t, "pool"))
		owner := epu.Owner(rapid.StringMatching(`[a-z0-9-]{1,16}`).Draw(t, "owner"))
		launch := epu.NewLaunchID(pool, epu.Epoch(rapid.Uint32().Draw(t, "epoch")), rapid.Uint64().Draw(t, "seq"))
		want := Claims{Bootstrap, here, owner, pool, launch, ""}
		token := s.Bootstrap(here, owner, pool, launch)
		if rapid.Bool().Draw(t, "worker") {
			want.Kind, want.Worker = Worker, epu.NewWorkerID(launch, rapid.IntRange(0, 9999).Draw(t, "slot"))
			token = s.Worker(here, owner, pool, want.Worker)
		}
		if got, err := s.Verify(here, token); err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		if len(token) > TokenMax || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Fatalf("token of %d characters: %s", len(token), token)
		}
		if got, err := other.Verify(here, token); epu.KindOf(err) != epu.Denied || got != (Claims{}) {
			t.Fatalf("another key: got %+v, %v, want denied", got, err)
		}
		for _, installation := range []epu.InstallationID{"", here + "x", here[1:]} {
			if got, err := s.Verify(installation, token); epu.KindOf(err) != epu.Denied || got != (Claims{}) {
				t.Fatalf("installation %q: got %+v, %v, want denied", installation, got, err)
			}
		}
	})
}

// Goal: a token has one spelling, and not one bit of it may change. Method: every single-character
// change of one token, and everything added at its ends.
func TestChangedTokensAreDenied(t *testing.T) {
	s := fixed(1)
	token := s.Worker(here, "default", "epu-web", "epu-web-1-7/3")
	bad := []string{"", "epu1.", "epu1..", token + "=", token + "A", token + "\n", " " + token, strings.Replace(token, "epu1", "epu2", 1), token + "." + token}
	for i := range len(token) {
		for _, r := range "AQgwz09-_.=\n" {
			if byte(r) != token[i] {
				bad = append(bad, token[:i]+string(r)+token[i+1:], token[:i]+string(r)+token[i:])
			}
		}
	}
	for _, b := range bad {
		if c, err := s.Verify(here, b); epu.KindOf(err) != epu.Denied {
			t.Fatalf("%q: got %+v, %v, want denied", b, c, err)
		} else if b != "" && strings.Contains(err.Error(), b) {
			t.Fatalf("the error repeats the token: %v", err)
		}
	}
	if c, err := s.Verify(here, s.Worker(here, "default", "epu-web", "epu-web-1-7")); err == nil {
		t.Errorf("a worker without a slot: got %+v, want denied", c)
	}
}

// Goal: whatever is verified was signed by us, and would be signed the same again. Method: fuzz tokens
// and, behind the signature, payloads.
func FuzzVerify(f *testing.F) {
	s := fixed(1)
	f.Add(s.Bootstrap(here, "default", "epu-web", "epu-web-1-7"), []byte{1, 1, 'o', 1, 'p', 1, 'l'})
	f.Add(s.Worker(here, "default", "epu-web", "epu-web-1-7/3"), []byte{0x82, 1, 'o', 1, 'p', 1, 'l', 1, '0'})
	f.Add("epu1.AA.AA", []byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, token string, p []byte) {
		if c, err := s.Verify(here, token); err == nil && s.sign(c) != token {
			t.Errorf("%q says %+v, which is signed as %q", token, c, s.sign(c))
		}
		c, err := parse(p)
		if err == nil {
			if again, err := parse(payload(c)); err != nil || again != c {
				t.Errorf("%x says %+v, and then %+v, %v", p, c, again, err)
			}
		}
	})
}

// Goal: a key is made once, for its user only, and found again. Method: eight openers at once.
func TestKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signing.key")
	prints := make([]string, 8)
	var all sync.WaitGroup
	for i := range prints {
		all.Go(func() {
			s, err := Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = s.Fingerprint()
		})
	}
	all.Wait()
	for _, p := range prints {
		if p == "" || p != prints[0] {
			t.Fatalf("got keys %q, want one", prints)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != keyMode {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Goal: a key that others know, or a damaged one, is refused in words that help, and never replaced.
func TestBadKeyFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if _, err := Open(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	x25519 := "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n"
	for i, c := range []struct {
		what string
		text string
		mode os.FileMode
		kind epu.Kind
		want string
	}{
		{"group", string(text), 0o640, epu.Denied, "mode 0640"},
		{"world", string(text), 0o604, epu.Denied, "other users"},
		{"empty", "", 0o600, epu.Invalid, "PEM"},
		{"cut short", string(text[:len(text)/2]), 0o600, epu.Invalid, "PEM"},
		{"more behind it", string(text) + "x", 0o600, epu.Invalid, "PEM"},
		{"another kind", x25519, 0o600, epu.Invalid, "Ed25519"},
		{"no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, epu.Invalid, "no key"},
		{"huge", strings.Repeat(string(text), 60), 0o600, epu.Invalid, "too long"},
	} {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if epu.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.want) || epu.TryOf(err) == "" {
			t.Errorf("%s: got %v (%v, try %q), want %v with %q", c.what, err, epu.KindOf(err), epu.TryOf(err), c.kind, c.want)
		}
		if after, _ := os.ReadFile(path); string(after) != c.text {
			t.Errorf("%s: the file was changed", c.what)
		}
	}
	if _, err := Open(dir); epu.KindOf(err) != epu.Invalid && epu.KindOf(err) != epu.Denied {
		t.Errorf("a folder: got %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none", "key")); epu.KindOf(err) != epu.Unavailable {
		t.Errorf("no folder: got %v, want unavailable", err)
	}
}

// Goal: nobody prints the key by accident. Method: every way that prints a value.
func TestSignerKeepsItsKey(t *testing.T) {
	s := fixed(0x41)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "signer", s)
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s", s, s, s), log.String()} {
		if strings.Contains(got, "AAAA") || strings.Contains(got, "65 65") || strings.Contains(got, "0x41, 0x41") || !strings.Contains(got, s.Fingerprint()) {
			t.Errorf("got %q", got)
		}
	}
}

// Goal: verifying is cheap enough for every beat. Method: measure it.
func BenchmarkVerify(b *testing.B) {
	s := fixed(1)
	token := s.Worker(here, "default", "epu-web", "epu-web-1-7/3")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(here, token); err != nil {
			b.Fatal(err)
		}
	}
}
