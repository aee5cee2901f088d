package resource

import (
	"fmt"
	"regexp"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// schema is the version of the file format, in every document.
const schema = "epu/v1"

// The kinds of documents.
const (
	kindPool = "pool"
	kindSite = "site"
	kindType = "deployable-type"
)

// Problem is one thing that is wrong, with file, line and a suggestion.
type Problem = strictyaml.Problem

// File is a file's content under the path that problems and origins name.
type File struct {
	Path    string
	Content []byte
}

// Set holds the specs of a parse in the order of the files, or what an installation has.
type Set struct {
	Pools []epu.PoolSpec
	Sites []epu.SiteSpec
	Types []epu.TypeSpec
}

// Options are what Parse needs to know beyond the files.
type Options struct {
	Known Set           // what the installation already has; the files replace specs of the same name
	Tick  time.Duration // of pools whose file gives none; default 5 s
	// Simulated allows sites of the driver sim, which tests and simulations have and nodes have not.
	Simulated bool
	Dir       string // what relative paths of files are relative to; empty = programs' ./ and ../ stay as they are
}

// Parse reads pools, sites and deployable types. When there are problems the set is what could be read,
// for display only: it must not be applied. Problems come sorted by file, in the order given, and line.
func Parse(files []File, opts Options) (Set, []Problem) {
	p := &parser{tick: opts.Tick, dir: opts.Dir, simulated: opts.Simulated, unread: map[string]bool{}}
	if p.tick == 0 {
		p.tick = tickDefault
	}
	paths := make([]string, 0, len(files))
	for _, f := range files {
		paths = append(paths, f.Path)
		before := p.log.Len()
		docs := strictyaml.Documents(f.Path, f.Content, &p.log)
		unread := p.log.Len() > before
		if unread {
			p.hint(f.Content)
		}
		if len(docs) == 0 && !unread {
			p.log.Add(Problem{File: f.Path, Line: 1, Text: "the file holds no document", Try: "start with `schema: epu/v1` and `kind: pool`"})
		}
		for _, doc := range docs {
			p.document(doc)
		}
	}
	p.checkDuplicates()
	p.checkTogether(opts.Known)
	return p.set, p.log.Sorted(paths...)
}

// parser is the state of one Parse.
type parser struct {
	log       strictyaml.Log
	set       Set
	tick      time.Duration
	dir       string
	simulated bool
	// unread are the names in documents that could not be read: others may refer to them rightly.
	unread map[string]bool
}

// namedLine finds the names of documents in a text that may be no YAML.
var namedLine = regexp.MustCompile(`(?:^|[\s{,])["']?name["']?:[ \t]*["']?([A-Za-z0-9._@-]+)`)

// hint keeps the names in a file that can't be read. Without them a slip in one file would be followed by
// complaints about every reference to what it defines; with them a slip in a reference is told at once.
func (p *parser) hint(content []byte) {
	for _, m := range namedLine.FindAllSubmatch(content, -1) {
		p.unread[string(m[1])] = true
	}
}

// document reads one document of any kind.
func (p *parser) document(m *strictyaml.Map) {
	m.Need("schema", "schema: "+schema).Word(schema, schema)
	switch kind := m.Need("kind", "kind: pool, site or deployable-type"); kind.Word("", kindPool, kindSite, kindType) {
	case kindPool:
		p.set.Pools = append(p.set.Pools, p.pool(m))
	case kindSite:
		p.set.Sites = append(p.set.Sites, p.site(m))
	case kindType:
		p.set.Types = append(p.set.Types, p.deployableType(m))
	default:
		p.unread[m.Get("name").Text("")] = true
		return // nothing is known of its keys
	}
	m.Done()
}

// checkDuplicates refuses two documents of one kind and name.
func (p *parser) checkDuplicates() {
	first := map[string]string{}
	check := func(subject string, origins map[string]string) {
		if origins["name"] == "" {
			return // a document without a name is refused for that
		}
		here := origins["name"]
		if there, twice := first[subject]; twice {
			problemAt(&p.log, origins, "name", fmt.Sprintf("%s is defined twice, first at %s", subject, there), "rename or remove one of them")
			return
		}
		first[subject] = here
	}
	for _, s := range p.set.Sites {
		check(fmt.Sprintf("site %s", s.Name), s.Origins)
	}
	for _, s := range p.set.Types {
		check(fmt.Sprintf("deployable type %s of owner %s", s.Name, s.Owner), s.Origins)
	}
	for _, s := range p.set.Pools {
		check(fmt.Sprintf("pool %s of owner %s", s.Name, s.Owner), s.Origins)
	}
}
