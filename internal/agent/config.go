package agent

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/agent/child"
)

// The environment variables that configure a worker's agent. Flags win over them.
const (
	EnvUserData     = "EPU_USER_DATA"     // path of the file with the user data
	EnvInstance     = "EPU_INSTANCE"      // the cloud's ID of this machine
	EnvDrainCommand = "EPU_DRAIN_COMMAND" // see Config.DrainCommand
	EnvLogLevel     = "EPU_LOG_LEVEL"     // debug, info, warn or error
	EnvStatusFile   = "EPU_STATUS_FILE"   // see StatusFile; also given to the programs
)

// What the agent adds to its programs' environment, beside the worker's variables.
const (
	EnvWorker     = "EPU_WORKER"      // the worker's ID
	EnvName       = "EPU_NAME"        // the name of a unique worker; empty for a generic one
	EnvProgramPID = "EPU_PROGRAM_PID" // only for the drain command: the program it is about
)

// Clock is the agent's time. Real programs use the system's; a scaled one makes hours short.
type Clock interface {
	// Now is the present; its monotonic part carries ages and deadlines.
	Now() time.Time
	// AfterFunc calls f on a goroutine of its own once d has passed.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is one pending call of a Clock.
type Timer interface {
	// Stop keeps the call from happening; false means that it already has, or was stopped before.
	Stop() bool
}

// Config is everything a worker's agent needs. All of it but DrainCommand, Status, Log and CAs is required.
type Config struct {
	User         msg.UserData
	Instance     epu.InstanceID
	Env          []string   // the agent's own environment, handed on to its programs
	DrainCommand string     // run by /bin/sh to drain; empty: the one that the node names, else SIGTERM
	Status       StatusFile // where the program says whether it is busy; empty: nowhere
	Stdout       io.Writer
	Stderr       io.Writer
	Log          *slog.Logger // nil: silent
	Clock        Clock
	Random       func() float64    // in [0, 1), for jitter; called by one goroutine
	CAs          *x509.CertPool    // nil: the system's
	Transport    http.RoundTripper // nil: direct connections that trust CAs

	start func(child.Spec) (process, error) // nil: real programs, as children of this process
}

// sources is where a configuration comes from: flags over environment over the user data's file.
type sources struct {
	userData     string
	instance     string
	nodes        []string
	drainCommand string
	logLevel     string
	statusFile   string
}

// fill takes from the environment what no flag gave.
func (s *sources) fill(env []string) {
	set := map[string]string{}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		set[k] = v
	}
	for _, f := range []struct {
		to  *string
		key string
	}{
		{&s.userData, EnvUserData},
		{&s.instance, EnvInstance},
		{&s.drainCommand, EnvDrainCommand},
		{&s.logLevel, EnvLogLevel},
		{&s.statusFile, EnvStatusFile},
	} {
		if *f.to == "" {
			*f.to = set[f.key]
		}
	}
}

// load reads and checks everything, and reports every problem at once.
func load(s sources, env []string) (cfg Config, level slog.Level, err error) {
	s.fill(env)
	if s.statusFile == "" && s.userData != "" {
		s.statusFile = filepath.Join(filepath.Dir(s.userData), statusName)
	}
	if path, absErr := filepath.Abs(s.statusFile); absErr == nil && s.statusFile != "" {
		s.statusFile = path // the programs may go to another folder
	}
	cfg = Config{Env: env, DrainCommand: s.drainCommand, Status: StatusFile(s.statusFile), Instance: epu.InstanceID(s.instance)}
	var ps Problems
	if s.instance == "" {
		ps = append(ps, Problem{Text: "the machine's instance ID is not known", Try: "set " + EnvInstance + " or --instance to the cloud's ID of this machine"})
	}
	if len(s.instance) > idMax || !visible(s.instance) {
		ps = append(ps, Problem{Text: fmt.Sprintf("instance ID %q is too long or has unprintable characters", cut(s.instance, 80)), Try: "set " + EnvInstance + " or --instance to the cloud's ID of this machine"})
	}
	if s.logLevel != "" && level.UnmarshalText([]byte(s.logLevel)) != nil {
		ps = append(ps, Problem{Text: fmt.Sprintf("log level %q is not known", s.logLevel), Try: "one of debug, info, warn, error"})
	}
	nodes, known := Problem{}, len(s.nodes) > 0 // where nodes come from, and whether any could
	if s.userData == "" {
		ps = append(ps, Problem{Text: "no user data", Try: "set " + EnvUserData + " or --user-data to the file that the node wrote"})
	} else {
		body, readErr := readFile(s.userData)
		if readErr != nil {
			ps = append(ps, Problem{File: s.userData, Text: readErr.Error(), Try: "set " + EnvUserData + " or --user-data to the file that the node wrote"})
		} else {
			user, read, found := decodeUserData(s.userData, body)
			cfg.User, ps = user, append(ps, found...)
			if read && !known {
				nodes, known = Problem{File: s.userData, Line: lineOf(body, "nodes")}, true
			}
		}
	}
	if len(s.nodes) > 0 {
		cfg.User.Nodes = s.nodes
	}
	if known {
		ps = append(ps, checkNodes(nodes, cfg.User.Nodes)...)
	}
	if cfg.User.CAFile != "" {
		pool, caErr := readCAs(cfg.User.CAFile)
		if caErr != nil {
			ps = append(ps, Problem{File: cfg.User.CAFile, Text: caErr.Error(), Try: "\"ca_file\" in the user data names a PEM file with the authority's certificate"})
		}
		cfg.CAs = pool
	}
	if len(ps) > 0 {
		return cfg, level, ps
	}
	return cfg, level, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	body, err := readLimited(f)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", reason(err))
	}
	return body, nil
}

// reason is a file error without the path, which the problem already names.
func reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func readCAs(path string) (*x509.CertPool, error) {
	body, err := readFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(body) {
		return nil, errors.New("holds no certificate in PEM form")
	}
	return pool, nil
}

// environment is what a program of the worker sees. Of equal keys the last counts.
func environment(own []string, l *link, status StatusFile) []string {
	env := make([]string, 0, len(own)+len(l.vars)+4)
	env = append(env, own...)
	for k, v := range l.vars {
		env = append(env, k+"="+v)
	}
	env = append(env, EnvWorker+"="+string(l.worker), EnvName+"="+l.name)
	if status != "" {
		env = append(env, EnvStatusFile+"="+string(status))
	}
	return env
}
