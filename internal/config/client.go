package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// clientFileDefault is the last place where a client looks for its file.
const clientFileDefault = "/etc/epu/config.yaml"

// Client is the settings of epumgmt and other clients. It holds no reference to anything shared. The
// meaning, default and unit of each field stand in docs/reference/epumgmt-config.md.
type Client struct {
	Node    string        // host:port or unix:PATH
	User    string        // for the audit; empty where neither a setting nor the login name is known
	Timeout time.Duration // at least 100 ms
	TLS     ClientTLS
	Profile string // in use; empty = none
	File    string // that was read; empty = none
}

// clientValues is what the layers fill in of a Client.
type clientValues struct {
	Node    string        `mapstructure:"node"`
	User    string        `mapstructure:"user"`
	Timeout time.Duration `mapstructure:"timeout"`
	TLS     ClientTLS     `mapstructure:"tls"`
}

// ClientTLS names the files of a client's TLS. Cert and Key are given together.
type ClientTLS struct {
	CA   string `mapstructure:"ca"`
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
}

// ClientOptions are what LoadClient works with.
type ClientOptions struct {
	Path    string              // of the file; empty = the flag --config, then as ClientFile says
	Profile string              // empty = the flag --profile, EPU_PROFILE, then the file's own choice
	Flags   *pflag.FlagSet      // with the flags of AddClientFlags; nil = none
	Getenv  func(string) string // nil = an empty environment
	Login   string              // default of user
}

// AddClientFlags makes a flag of every setting of a client, and --config and --profile.
func AddClientFlags(set *pflag.FlagSet) {
	set.String("config", "", "file of settings (EPU_CONFIG; default ~/.config/epu/config.yaml or "+clientFileDefault+")")
	set.String("profile", "", "profile of that file (EPU_PROFILE)")
	addFlags(set, clientKeys())
}

// ClientFile finds a client's file: EPU_CONFIG, which must exist, else the first there is of
// $XDG_CONFIG_HOME/epu/config.yaml (~/.config without that variable) and /etc/epu/config.yaml; empty
// when there is none.
func ClientFile(getenv func(string) string) string {
	if named := getenv("EPU_CONFIG"); named != "" {
		return named
	}
	var usual []string
	if xdg := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(xdg) { // the standard ignores relative ones
		usual = append(usual, filepath.Join(xdg, "epu", "config.yaml"))
	} else if home := getenv("HOME"); home != "" {
		usual = append(usual, filepath.Join(home, ".config", "epu", "config.yaml"))
	}
	for _, path := range append(usual, clientFileDefault) {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path // one that can't be looked at is an error, not a reason to use another
		}
	}
	return ""
}

// LoadClient reads a client's settings: flag > environment > profile > file > default. The origins are
// in the order of the reference, also when there is an error; problems are one *Error.
func LoadClient(opts ClientOptions) (Client, []Origin, error) {
	getenv := opts.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	l := newLayers(clientKeys(), false, map[string]string{"user": opts.Login})
	file, fromFlag := opts.Path, flagText(opts.Flags, "config")
	if file == "" {
		file = fromFlag
	}
	if file == "" {
		file = ClientFile(getenv)
	}
	profile := l.clientFile(file, opts.profile(getenv))
	l.environment(getenv)
	l.flags(opts.Flags)
	var v clientValues
	if err := l.decode(&v); err != nil {
		return Client{}, nil, err
	}
	l.checkClient(v)
	c := Client{Node: v.Node, User: v.User, Timeout: v.Timeout, TLS: v.TLS, Profile: profile, File: file}
	return c, l.origins(), strictyaml.NewError(l.log.Sorted(file))
}

// profile is the profile that was asked for, and who asked.
func (o ClientOptions) profile(getenv func(string) string) (asked [2]string) {
	switch flag := flagText(o.Flags, "profile"); {
	case o.Profile != "":
		return [2]string{o.Profile, "--profile"}
	case flag != "":
		return [2]string{flag, "--profile"}
	case getenv("EPU_PROFILE") != "":
		return [2]string{getenv("EPU_PROFILE"), "EPU_PROFILE"}
	}
	return asked
}

// flagText is the text of a flag, or "".
func flagText(set *pflag.FlagSet, name string) string {
	if set == nil {
		return ""
	}
	if f := set.Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}

// clientFile adds the settings of a file and of one of its profiles, and returns that one's name.
func (l *layers) clientFile(file string, asked [2]string) string {
	if file == "" {
		return l.clientContent(file, nil, asked)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		l.log.Add(readProblem(file, err, "name another file with --config or EPU_CONFIG"))
		return asked[0] // whether it has the profile is unknown
	}
	return l.clientContent(file, content, asked)
}

// clientContent adds the settings in a file's content, which is empty without a file.
func (l *layers) clientContent(file string, content []byte, asked [2]string) string {
	doc := l.document(file, content)
	// Names of profiles are the operator's own words: they are read from the file itself, because viper
	// would fold their case.
	profiles := map[string]map[string]setting{}
	var names []string
	name, complain := asked[0], func(text, try string) {
		l.log.Add(Problem{File: asked[1], Text: text, Try: try})
	}
	if doc != nil {
		top := l.file(doc, folderOf(file))
		choice := doc.Get("profile")
		if name == "" {
			name, complain = choice.Text(""), choice.Fail
		}
		for key, v := range doc.Get("profiles").Map().All() {
			m := v.Map()
			profiles[key] = l.file(m, folderOf(file))
			names = append(names, key)
			m.Done()
		}
		doc.Done()
		l.merge(top)
	}
	if name == "" {
		return ""
	}
	layer, ok := profiles[name]
	if !ok {
		try := strictyaml.DidYouMean(name, names)
		if try == "" {
			try = "add it under profiles in the file of settings"
		}
		complain(fmt.Sprintf("there is no profile %s", name), try)
		return name
	}
	l.merge(layer)
	return name
}

// checkClient checks what spans several settings.
func (l *layers) checkClient(c clientValues) {
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		have, lack := "tls.cert", "tls.key"
		if c.TLS.Cert == "" {
			have, lack = lack, have
		}
		l.fail(have, "stands without "+lack, "give both")
	}
}
