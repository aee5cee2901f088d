package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu/actors/msg"
)

// Tables stand in line with and without colour, fit a terminal, and a watch shows what changed.

func sample() Table {
	row := func(name, want, age, text string, tone Tone) Row {
		return Row{Name: name, Message: &msg.PoolStatus{Name: name}, Cells: []Cell{Text(name), Text(want), Text("site"), {Age: age, Text: text, Tone: tone}}}
	}
	return Table{
		Columns: []Column{{Name: "POOL"}, {Name: "WANT", Right: true}, {Name: "LAST SITE", Optional: true}, {Name: "LAST DECISION"}},
		Rows: []Row{
			row("epu-web", "12", "12s ago", "up because the queue is long", Warn),
			row("epu-größer", "240", "3m ago", "hold", Good),
			row("epu-new", "0", "", "", Plain),
		},
	}
}

func render(t *testing.T, tab Table, l layout) string {
	t.Helper()
	var b bytes.Buffer
	l.ellipsis = "…"
	if err := tab.write(&b, l); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	whole := `POOL         WANT  LAST SITE  LAST DECISION
epu-web        12  site       12s ago up because the queue is long
epu-größer    240  site       3m ago  hold
epu-new         0  site
`
	if diff := cmp.Diff(whole, render(t, sample(), layout{})); diff != "" {
		t.Errorf("plain: %s", diff)
	}
	coloured := render(t, sample(), layout{paint: Paint{On: true}})
	for _, code := range append(sgr[:], sgrReset) {
		coloured = strings.ReplaceAll(coloured, code, "")
	}
	for i, line := range strings.Split(coloured, "\n") {
		if got, want := strings.TrimRight(line, " "), strings.Split(whole, "\n")[i]; got != want {
			t.Errorf("without its colour a line is %q, want %q", got, want)
		}
	}
	narrow := `POOL         WANT  LAST DECISION
epu-web        12  12s ago up because the qu…
epu-größer    240  3m ago  hold
epu-new         0
`
	if diff := cmp.Diff(narrow, render(t, sample(), layout{width: 45})); diff != "" {
		t.Errorf("45 columns: %s", diff)
	}
	chosen := "LAST SITE   POOL\nsite        epu-web\nsite        epu-größer\nsite        epu-new\n"
	if diff := cmp.Diff(chosen, render(t, sample(), layout{columns: []string{"last-site", "pool"}})); diff != "" {
		t.Errorf("chosen columns: %s", diff)
	}
}

func TestWatcherShowsWhatChanged(t *testing.T) {
	var out, errs bytes.Buffer
	p := &Printer{Settings: Settings{Form: FormTable}, Out: &out, Err: &errs}
	w, err := NewWatcher(p, false)
	if err != nil {
		t.Fatal(err)
	}
	show := func(change func(*Table)) string {
		out.Reset()
		tab := sample()
		change(&tab)
		if err := w.Show(View{Type: "status", Data: &msg.Status{}, Tables: []Table{tab}}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := show(func(*Table) {}); strings.Count(got, "\n") != 4 {
		t.Errorf("at first %q, want the whole table", got)
	}
	if got := show(func(tab *Table) { tab.Rows[0].Cells[3].Age = "14s ago" }); got != "" {
		t.Errorf("an age moved: %q, want nothing", got)
	}
	if got, want := show(func(tab *Table) { tab.Rows[1].Cells[1].Text = "241" }), "epu-größer    241  site       3m ago  hold\n"; got != want {
		t.Errorf("a number changed: %q, want %q", got, want)
	}
	if got := show(func(tab *Table) { tab.Rows = tab.Rows[1:]; tab.Rows[0].Cells[1].Text = "241" }); got != "" || errs.String() != "gone: epu-web\n" {
		t.Errorf("a row went: %q and on stderr %q", got, errs.String())
	}
	p.Settings.Form = FormJSONL
	if got, want := show(func(*Table) {}), "\"name\":\"epu-web\""; strings.Count(got, "\n") != 2 || !strings.Contains(got, want) {
		t.Errorf("two rows changed: %q, want two lines", got)
	}
	for _, f := range []Form{FormJSON, FormYAML, FormName} {
		if _, err := NewWatcher(&Printer{Settings: Settings{Form: f}}, false); CodeOf(err) != CodeUsage {
			t.Errorf("a watch of %s gave %v, want a refusal", f, err)
		}
	}
}
