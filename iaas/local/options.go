package local

import "time"

// KeeperCommand is the first argument with which the running binary is started again as a keeper. A
// main function, and the TestMain of tests that launch, does before anything else:
//
//	if len(os.Args) > 1 && os.Args[1] == local.KeeperCommand {
//		os.Exit(local.KeeperMain(os.Args[2:]))
//	}
const KeeperCommand = "local-instance-keeper"

// Names of variables that a program finds in its environment, besides PATH, HOME and the request's.
const (
	EnvInstance = "EPU_INSTANCE"  // the instance's ID
	EnvAddress  = "EPU_ADDRESS"   // an address of its own in 127.0.0.0/8
	EnvUserData = "EPU_USER_DATA" // path of a file with the launch's user data

	// envMark is how what a killed keeper left behind is found. Unlike the ID it also names the folder's
	// inode, so whoever opens a copy of the folder does not end the original's instances.
	envMark = "EPU_KEEPER_MARK"
)

// Options say how instances are run. The zero value is good.
type Options struct {
	// Clock is for times of launches and for forgetting; default the machine's clock.
	Clock func() time.Time
	// Programs maps images that are not paths to the commands behind them, such as "epu-agent" to
	// {"/proc/self/exe", "agent"}; /proc/self/exe is the binary that runs the daemon.
	Programs map[string][]string
	// Path is where programs that are neither paths nor in Programs are looked for, and PATH of all.
	Path string
	// Grace is the time between SIGTERM and SIGKILL; default 10 s. It is kept with each launch.
	Grace time.Duration
	// Keep is how long ended instances are listed; default 1 h.
	Keep time.Duration
	// LogBytes bounds each of a program's two logs, which have two files of half that; default 2 MiB.
	LogBytes int64
}

const pathDefault = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Path == "" {
		o.Path = pathDefault
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Second
	}
	if o.Keep <= 0 {
		o.Keep = time.Hour
	}
	if o.LogBytes <= 0 {
		o.LogBytes = 2 << 20
	}
	return o
}
