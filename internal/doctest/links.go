package doctest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
)

const index = "docs/index.md"

// checkLinks reports links that lead nowhere and pages that no path of links from the index reaches. A
// link to a folder reaches every page in it.
func checkLinks(root string, pages []page) []problem {
	byPath := map[string]page{}
	for _, p := range pages {
		byPath[p.path] = p
	}
	var found []problem
	for _, p := range pages {
		for _, l := range p.links {
			to := p.follow(l)
			other, isPage := byPath[to]
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(to))); err != nil && !isPage {
				found = append(found, problem{p.path, l.line, fmt.Sprintf("link to %s, which does not exist", to)})
				continue
			}
			if l.anchor != "" && isPage && !other.anchors[l.anchor] {
				found = append(found, problem{p.path, l.line, fmt.Sprintf("%s has no heading #%s", to, l.anchor)})
			}
		}
	}
	reached := map[string]bool{index: true}
	for todo := []string{index}; len(todo) > 0; todo = todo[1:] {
		p := byPath[todo[0]]
		for _, l := range p.links {
			to := p.follow(l)
			for _, other := range pages {
				at := other.path
				if (at == to || path.Dir(at) == to && to != ".") && !reached[at] {
					reached[at] = true
					todo = append(todo, at)
				}
			}
		}
	}
	for _, p := range pages {
		if path.Dir(p.path) != "." && !reached[p.path] {
			found = append(found, problem{p.path, 1, "no way from " + index + " leads to this page"})
		}
	}
	return found
}

// follow gives the path from the root of the tree that a link on the page leads to.
func (p page) follow(l link) string {
	if l.target == "" {
		return p.path
	}
	return path.Join(path.Dir(p.path), l.target)
}
