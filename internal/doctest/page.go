package doctest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// page is one Markdown file, cut into what is checked.
type page struct {
	path    string // slash-separated, from the root of the tree
	blocks  []block
	links   []link
	anchors map[string]bool // of its headings
}

// block is one fenced block.
type block struct {
	page string
	line int    // of its first line of content, from 1
	kind string // the words after the fence
	text string
}

// link is one link to somewhere inside the project.
type link struct {
	line   int
	target string // without the anchor; "" = this page
	anchor string
}

// problem is one thing on a page that is not true.
type problem struct {
	page string
	line int
	text string
}

func (p problem) String() string { return fmt.Sprintf("%s:%d: %s", p.page, p.line, p.text) }

func (b block) problem(line int, format string, args ...any) problem {
	return problem{page: b.page, line: b.line + line, text: fmt.Sprintf(format, args...)}
}

var (
	linkPattern   = regexp.MustCompile(`\]\(([^)\s]+)(?:\s+"[^"]*")?\)`)
	codePattern   = regexp.MustCompile("`[^`]*`")
	notInAnchor   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	schemePattern = regexp.MustCompile(`^[a-z]+:`)
)

// readPages reads README.md, CHANGELOG.md and everything below docs.
func readPages(root string) ([]page, error) {
	names := []string{"README.md", "CHANGELOG.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() && strings.HasSuffix(name, ".md") {
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	pages := make([]page, 0, len(names))
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		pages = append(pages, parsePage(name, string(text)))
	}
	return pages, nil
}

// parsePage cuts a page into blocks, links and headings. Links inside code are text.
func parsePage(path, text string) page {
	p := page{path: path, anchors: map[string]bool{}}
	var open *block
	fence := ""
	n := 0
	for line := range strings.Lines(text) {
		n++
		trimmed := strings.TrimSpace(line)
		switch {
		case open != nil && trimmed == fence:
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		case strings.HasPrefix(trimmed, "```"):
			kind := strings.TrimLeft(trimmed, "`")
			fence = trimmed[:len(trimmed)-len(kind)]
			open = &block{page: path, line: n + 1, kind: strings.TrimSpace(kind)}
		case strings.HasPrefix(line, "#"):
			p.anchors[anchor(strings.TrimLeft(line, "#"))] = true
			p.readLinks(n, line)
		default:
			p.readLinks(n, line)
		}
	}
	if open != nil {
		open.kind = "unclosed"
		p.blocks = append(p.blocks, *open)
	}
	return p
}

func (p *page) readLinks(n int, line string) {
	line = codePattern.ReplaceAllString(line, "")
	for _, m := range linkPattern.FindAllStringSubmatch(line, -1) {
		if schemePattern.MatchString(m[1]) {
			continue
		}
		target, anchor, _ := strings.Cut(m[1], "#")
		p.links = append(p.links, link{line: n, target: target, anchor: anchor})
	}
}

// anchor is the name under which forges let one link to a heading.
func anchor(heading string) string {
	heading = strings.ToLower(strings.TrimSpace(heading))
	return strings.ReplaceAll(notInAnchor.ReplaceAllString(heading, ""), " ", "-")
}
