package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Watcher prints answers that follow one another. A terminal is redrawn; a pipe gets the first answer
// and then one line for each row that changed; -o jsonl gets one line for each of them.
type Watcher struct {
	p    *Printer
	tty  bool
	last map[string]string // what stood in a row, by table and name
	seen bool
}

// NewWatcher refuses forms that have no end of a document.
func NewWatcher(p *Printer, tty bool) (*Watcher, error) {
	if f := p.Settings.Form; f == FormJSON || f == FormYAML || f == FormName {
		return nil, Usage("-o jsonl", "a watch never ends, and a document of %s would not either", f)
	}
	return &Watcher{p: p, tty: tty && p.Settings.Form != FormJSONL}, nil
}

const (
	ttyHome  = "\x1b[H"  // to the upper left corner
	ttyClear = "\x1b[2J" // everything
	ttyRest  = "\x1b[J"  // from here to the end
)

// Show prints what is new in an answer.
func (w *Watcher) Show(v View) error {
	if w.tty {
		return w.redraw(v)
	}
	tables, lines := w.changes(v)
	first := !w.seen
	w.seen = true
	if first && w.p.Settings.Form != FormJSONL || len(v.Tables) == 0 && lines {
		return w.p.Print(v)
	}
	for i, t := range v.Tables {
		if i > 0 && w.p.Settings.Columns != nil {
			break
		}
		if err := w.rows(t, tables[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *Watcher) redraw(v View) error {
	start := ttyHome
	if !w.seen {
		start = ttyClear + ttyHome
	}
	w.seen = true
	fmt.Fprint(w.p.Out, start)
	// Old text below and beside the new goes away, without the flicker of clearing first.
	var b strings.Builder
	q := *w.p
	q.Out = &b
	if err := q.Print(v); err != nil {
		return err
	}
	text := strings.ReplaceAll(b.String(), "\n", "\x1b[K\n")
	_, err := fmt.Fprint(w.p.Out, text, ttyRest)
	return err
}

// changes gives the names of the rows of each table that differ from what was shown, and whether a
// line does. A row that is gone is named on stderr.
func (w *Watcher) changes(v View) (tables []map[string]bool, lines bool) {
	now := make(map[string]string)
	for i, t := range v.Tables {
		tables = append(tables, make(map[string]bool))
		for _, r := range t.Rows {
			key := fmt.Sprint(i, " ", r.Name)
			now[key] = r.stamp()
			if old, known := w.last[key]; !known || old != now[key] {
				tables[i][r.Name] = true
			}
		}
	}
	for i, l := range v.Lines {
		key := fmt.Sprint("line ", i)
		now[key] = Row{Cells: l}.stamp()
		lines = lines || w.last[key] != now[key]
	}
	if w.p.Settings.Form != FormJSONL {
		for _, key := range slices.Sorted(maps.Keys(w.last)) {
			if _, still := now[key]; !still && !strings.HasPrefix(key, "line ") {
				w.p.Note("gone: %s", key[strings.IndexByte(key, ' ')+1:])
			}
		}
	}
	w.last = now
	return tables, lines
}

// rows prints changed rows below what stands there, without a header and in the columns of the whole.
func (w *Watcher) rows(t Table, changed map[string]bool) error {
	if w.p.Settings.Form == FormJSONL {
		for _, r := range t.Rows {
			if changed[r.Name] {
				if err := w.p.row(r); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if len(changed) == 0 {
		return nil
	}
	l := w.p.layout()
	l.only = changed
	return t.write(w.p.Out, l)
}
