package versions_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/versions"
)

func version(name string, i, bytes int) epu.PolicyVersion {
	return epu.PolicyVersion{
		Name: name, Hash: fmt.Sprintf("%012x", i), Time: time.Unix(int64(i), 0),
		Files: []epu.PolicyFile{{Path: name + ".lua", Text: strings.Repeat("x", bytes)}},
	}
}

func hashes(b versions.Book, name string) string {
	var out []string
	for _, v := range b[name].Kept {
		out = append(out, strings.TrimLeft(v.Hash, "0"))
	}
	return strings.Join(out, " ")
}

// Goal: the newest ten stay, and beyond them what is in force or pinned. Method: many versions, one by one.
func TestNewestAreKept(t *testing.T) {
	var b versions.Book
	pinned := versions.Pinned{}
	pinned.Add("p", version("p", 2, 0).Hash)
	for i := 1; i <= 15; i++ {
		b = b.Store(version("p", i, 10), pinned)
		if i == 3 {
			b = b.Put("p", version("p", 3, 0).Hash)
		}
	}
	if got, want := hashes(b, "p"), "f e d c b a 9 8 7 6 3 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	again := b.Store(version("p", 6, 10), pinned)
	if got, want := hashes(again, "p"), "6 f e d c b a 9 8 7 3 2"; got != want {
		t.Errorf("stored once more: got %s, want %s", got, want)
	}
	if got := hashes(b, "p"); !strings.HasPrefix(got, "f e") {
		t.Errorf("the book it was made from changed: %s", got)
	}
}

// Goal: a hash or its first digits mean one version, and an error names what there is.
func TestFind(t *testing.T) {
	b := versions.Book{}.Store(version("p", 0xab0, 1), nil).Store(version("p", 0xab1, 1), nil).Put("p", version("p", 0xab1, 1).Hash)
	for _, tt := range []struct{ digits, want, text string }{
		{"000000000ab0", "000000000ab0", ""},
		{"000000000ab1" + strings.Repeat("f", 52), "000000000ab1", ""}, // a whole SHA-256
		{"fff", "ffffffffffff", ""},
		{"000000000ab", "", "several versions begin with it"},
		{"12", "", "there is no such version"},
	} {
		got, err := b.Find("p", tt.digits, "ffffffffffff")
		if got != tt.want || (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %q (%v), want %q", tt.digits, got, err, tt.want)
		}
		if err != nil && !strings.Contains(epu.TryOf(err), "000000000ab1") {
			t.Errorf("%s: the advice %q does not say what there is", tt.digits, epu.TryOf(err))
		}
	}
}

// Goal: rollbacks go back one by one, and the library's version has its place among the others.
func TestBefore(t *testing.T) {
	b := versions.Book{}.Store(version("p", 1, 1), nil).Store(version("p", 2, 1), nil)
	for _, tt := range []struct{ current, library, want string }{
		{"000000000002", "", "000000000001"},
		{"000000000001", "", ""},
		{"000000000001", "ffffffffffff", "ffffffffffff"}, // not kept: the oldest
		{"", "ffffffffffff", "000000000002"},             // in force and not kept: the newest
		{"", "000000000001", ""},
		{"", "", ""},
	} {
		got, err := b.Put("p", tt.current).Before("p", tt.library)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%+v: got %q (%v)", tt, got, err)
		}
		if try := epu.TryOf(err); err != nil && (!strings.Contains(try, "epumgmt policy versions p ") || !strings.Contains(try, "epumgmt policy rollback p HASH")) {
			t.Errorf("%+v: the way forward is not named: %q", tt, try)
		}
	}
}

// Goal: what is in force or pinned is never forgotten, and only that can make a book larger than it may be.
// Method: random books against these two sentences.
func TestBookProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b versions.Book
		pinned := versions.Pinned{}
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"p", "q"}).Draw(t, "name")
			v := version(name, rapid.IntRange(1, 40).Draw(t, "version"), rapid.SampledFrom([]int{1, versions.SizeMax - 100}).Draw(t, "bytes"))
			v.Time = time.Unix(int64(i), 0)
			if b.Fits(v, pinned) != nil {
				continue
			}
			b = b.Store(v, pinned)
			if rapid.Bool().Draw(t, "put") {
				b = b.Put(name, v.Hash)
			}
			if rapid.IntRange(0, 9).Draw(t, "pin") == 0 {
				pinned.Add(name, v.Hash)
			}
			if b.Size() > versions.BookMax {
				t.Fatalf("%d bytes are kept", b.Size())
			}
		}
		for name, p := range b {
			if _, ok := b.Get(name, p.Current); !ok && p.Current != "" {
				t.Fatalf("%s: %s is in force and not kept", name, p.Current)
			}
			for hash := range pinned[name] {
				if _, ok := b.Get(name, hash); !ok {
					t.Fatalf("%s: %s is pinned and not kept", name, hash)
				}
			}
		}
	})
}
