package queue

import (
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

// Command is `epu-agent queue`. run is called with the configuration once it is sound.
func Command(getenv func(string) string, began func(), run func(Config, slog.Level) error) *cobra.Command {
	var s Settings
	c := &cobra.Command{
		Use:   "queue",
		Short: "Tell a pool's sensors how many messages wait in queues of RabbitMQ",
		Long: "queue runs beside a RabbitMQ broker. It counts the messages of queues every so often and pushes the\n" +
			"numbers to a pool's sensors of the source rabbitmq. What it can't know it reports as unknown.\n\n" +
			"The address of the broker, with its password, comes from a file (--amqp file:PATH), a variable\n" +
			"(--amqp env:NAME) or EPU_QUEUE_AMQP. Every flag has a variable, EPU_QUEUE_ and its name, and a key in\n" +
			"the file of --config.\n\n" +
			"Exit codes: 0 stopped, 1 failed, 4 wrong usage or configuration, 130 interrupted.",
		Example: "  epu-agent queue --amqp file:/etc/epu/amqp-url --pool epu-web --queue jobs --node http://127.0.0.1:7421\n" +
			"  epu-agent queue --config /etc/epu/queue-agent.yaml",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			began()
			conf, level, err := Load(s, getenv)
			if err != nil {
				return err
			}
			return run(conf, level)
		},
	}
	f := c.Flags()
	text := func(to *string, name, usage string) {
		f.StringVar(to, name, "", usage+" (environment "+envPrefix+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+")")
	}
	text(&s.File, "config", "YAML `FILE` with these settings")
	text(&s.AMQP, "amqp", "`WHERE` the broker's address is: file:PATH, env:NAME, or an address without a password")
	text(&s.AMQPCA, "amqp-ca", "PEM `FILE` with the authority of the broker's certificate")
	text(&s.Management, "management", "base `URL` of the broker's management API, for --count unacked and total")
	text(&s.Pool, "pool", "`NAME` of the pool")
	f.StringArrayVar(&s.Queues, "queue", nil, "`[SENSOR=]NAME` of a queue; may be repeated; queues of one sensor are summed up (environment "+envPrefix+"QUEUE, with commas)")
	text(&s.Sensor, "sensor", "`NAME` of the sensor of queues that name none, default "+sensorDefault)
	text(&s.Count, "count", "`WHAT` counts: ready (default), unacked or total")
	text(&s.Every, "every", "`TIME` between readings, default 15s")
	f.StringSliceVar(&s.Nodes, "node", nil, "base `URL` of a node, tried in order; may be repeated (environment "+envPrefix+"NODE, with commas)")
	text(&s.NodeCA, "node-ca", "PEM `FILE` with the authority of the nodes' certificates")
	text(&s.NodeCert, "node-cert", "PEM `FILE` with the agent's certificate, for nodes on other machines")
	text(&s.NodeKey, "node-key", "PEM `FILE` with its key")
	text(&s.LogLevel, "log-level", "debug, info (default), warn or error")
	return c
}
