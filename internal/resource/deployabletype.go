package resource

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// argsMax bounds the arguments of a program.
const argsMax = 256

// deployableType reads a deployable type.
func (p *parser) deployableType(m *strictyaml.Map) epu.TypeSpec {
	s := epu.TypeSpec{
		Name:        nameOf(m.Need("name", "name: <service>-worker"), nameForm),
		Owner:       ownerOf(m),
		Description: m.Get("description").Text(""),
		Variables:   variablesOf(m.Get("variables")),
		Sites:       typeSites(m.Need("sites", "sites: {local: {image: /path/of/program}}")),
		AgentRun:    agentRun(m.Get("agent")),
	}
	for site, at := range s.Sites {
		at.Image = p.program(at.Image, m.At().File())
		s.Sites[site] = at
	}
	if len(s.AgentRun) > 0 {
		s.AgentRun[0] = p.program(s.AgentRun[0], m.At().File())
	}
	ctx := m.Get("contextualization").Map()
	ctx.Later("method", "user_data", "programs", "roles", "ready", "document")
	ctx.Done()
	m.Later("terminate")
	s.Origins = m.Origins()
	p.checkTexts(s)
	return s
}

// program is beside for a text in which variables are substituted, so that a folder's dollars stay.
func (p *parser) program(path, file string) string {
	if folder := p.folderOf(path, file); folder != "" {
		return filepath.Join(strings.ReplaceAll(folder, "$", "$$"), path)
	}
	return path
}

// beside makes a program's path absolute that begins with ./ or ../: as in a shell, that is meant from
// a folder, here the file's own. Other paths are the business of where the program runs.
func (p *parser) beside(path, file string) string {
	if folder := p.folderOf(path, file); folder != "" {
		return filepath.Join(folder, path)
	}
	return path
}

// folderOf is the folder that a program's path is meant from; empty when the path stays as it is.
func (p *parser) folderOf(path, file string) string {
	if !strings.HasPrefix(path, "./") && !strings.HasPrefix(path, "../") {
		return ""
	}
	folder := filepath.Dir(file)
	if filepath.IsAbs(folder) {
		return folder
	}
	if p.dir == "" {
		return ""
	}
	return filepath.Join(p.dir, folder)
}

// variablesOf reads the variables that a type declares.
func variablesOf(v strictyaml.Value) map[string]epu.VarSpec {
	out := map[string]epu.VarSpec{}
	for name, item := range v.Map().All() {
		if variableName(name, item) {
			out[name] = variable(item)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// variable reads one declaration.
func variable(v strictyaml.Value) epu.VarSpec {
	m := v.Map()
	s := epu.VarSpec{
		Doc:      m.Get("doc").Text(""),
		Required: m.Get("required").Bool(false),
		OneOf:    m.Get("one_of").Texts(),
		Secret:   m.Get("secret").Bool(false),
	}
	def, from := m.Get("default"), m.Get("from")
	if text, ok := def.Scalar(); ok {
		s.Default = &text
	}
	if from.Present() {
		s.From = referenceOf(from)
	}
	switch {
	case def.Present() && from.Present():
		from.Fail("stands beside default", "keep one of them")
	case s.Required && (def.Present() || from.Present()):
		m.Get("required").Fail("a variable that has a value of its own can't be required", "leave required out")
	case s.Secret && def.Present():
		def.Fail("a secret can't stand in a file", "from: env:NAME or file:/path")
	}
	if s.OneOf != nil && s.Default != nil && !slices.Contains(s.OneOf, *s.Default) {
		def.Fail(fmt.Sprintf("%q is not one of %s", *s.Default, list(s.OneOf)), strictyaml.DidYouMean(*s.Default, s.OneOf))
	}
	if one := m.Get("one_of"); one.Present() && (from.Present() || s.Secret) {
		one.Fail("a secret's value is not looked at", "leave one_of out")
	}
	m.Done()
	return s
}

// typeSites reads what a type is at each site.
func typeSites(v strictyaml.Value) map[epu.SiteID]epu.TypeSite {
	out := map[epu.SiteID]epu.TypeSite{}
	for name, item := range v.Map().All() {
		if !siteNameForm.MatchString(name) || len(name) > nameMax {
			item.Fail(fmt.Sprintf("%q is not the name of a site", name), "")
			continue
		}
		m := item.Map()
		image := m.Need("image", "image: <path of a program>")
		s := epu.TypeSite{
			Args:       textsOf(m.Get("args")),
			Allocation: epu.Allocation(m.Get("allocation").Text("")),
		}
		switch {
		case image.IsMap():
			image.Fail("looking images up is not supported yet", "image: <name or path>")
		case image.Present():
			if s.Image = image.Text(""); image.Text("x") == "" {
				image.Fail("is empty", "image: <path of a program>")
			}
		}
		m.Later("disks", "launch_template", "network", "zones")
		m.Done()
		out[epu.SiteID(name)] = s
	}
	if v.Present() && len(v.Map().Names()) == 0 {
		v.Fail("names no site", "sites: {local: {image: /path/of/program}}")
	}
	return out
}

// textsOf reads a list of arguments.
func textsOf(v strictyaml.Value) []string {
	texts := v.Texts()
	if len(texts) > argsMax {
		v.Fail(fmt.Sprintf("has %d entries, more than %d", len(texts), argsMax), "")
	}
	return texts
}

// agentRun reads the program that the agent supervises. The agent is in the image, or there is none.
func agentRun(v strictyaml.Value) []string {
	m := v.Map()
	install, run := m.Get("install"), m.Get("run")
	how := "in-image"
	if install.Text("") == "download" {
		install.Fail("download is not supported yet", "in-image or none")
	} else {
		how = install.Word(how, "in-image", "none")
	}
	words := textsOf(run)
	switch {
	case run.IsList() && (len(run.List()) == 0 || len(words) > 0 && words[0] == ""):
		run.Fail("names no program", "run: [/path/of/program, argument]")
	case how == "none" && run.Present():
		run.Fail("needs an agent", "install: in-image, or make the program the image")
	case how == "in-image" && v.IsMap() && !run.Present():
		run.Fail("is missing: the agent would have nothing to look after", "run: [/path/of/program, argument]")
	}
	m.Done()
	return words
}
