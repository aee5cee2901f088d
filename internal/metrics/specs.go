package metrics

import "github.com/prometheus/client_golang/prometheus"

// spec describes one metric; the collectors and the reference are made of it.
type spec struct {
	name   string
	kind   string // gauge, counter or histogram
	labels []string
	help   string
	values string // of labels, for the reference; empty where the names say it
}

// The metrics that are read from the status when somebody scrapes.
var (
	statusUp = spec{"epu_status_up", "gauge", nil, "1 if the node could say how everything is, else 0; then the metrics of pools and sites are missing", ""}

	poolInstances = spec{"epu_pool_instances", "gauge", []string{"pool", "state"}, "Workers of a pool, each in one state", "state: starting, running, draining, ending"}
	poolDesired   = spec{"epu_pool_desired_instances", "gauge", []string{"pool"}, "Workers that the pool's wish in force asks for", ""}
	poolUnhealthy = spec{"epu_pool_unhealthy_instances", "gauge", []string{"pool"}, "Workers that should be replaced; they count in epu_pool_instances too", ""}
	poolConverged = spec{"epu_pool_converged", "gauge", []string{"pool"}, "1 if the pool has what it wants and nothing is on its way, else 0; 1 also while limits cut the wish", ""}
	poolHealth    = spec{"epu_pool_health", "gauge", []string{"pool", "health"}, "1 for the health that the pool has, 0 for the others", "health: ok, degraded, suspect, policy-failing, unknown"}
	poolFrozen    = spec{"epu_pool_frozen", "gauge", []string{"pool"}, "1 while an operator's freeze holds the pool, else 0", ""}
	poolBackoff   = spec{"epu_pool_launch_backoff_seconds", "gauge", []string{"pool"}, "Time until launches may be tried again after failures; 0 if they may now", ""}

	siteUp        = spec{"epu_site_up", "gauge", []string{"site"}, "1 if the site is listed and works, else 0", ""}
	siteInstances = spec{"epu_site_instances", "gauge", []string{"site"}, "Machines of ours at the site", ""}
	siteStuck     = spec{"epu_site_stuck_endings", "gauge", []string{"site"}, "Machines whose end takes longer than it should", ""}
	siteForeign   = spec{"epu_site_foreign_instances", "gauge", []string{"site"}, "Machines with our tags that no record explains; they are only listed", ""}
	siteCondemned = spec{"epu_site_condemned_instances", "gauge", []string{"site"}, "Machines that no worker stands for and that are being ended", ""}
	siteBudget    = spec{"epu_site_api_budget_calls", "gauge", []string{"site"}, "Calls that the site's budget allows now", ""}
	siteListing   = spec{"epu_site_last_listing_timestamp_seconds", "gauge", []string{"site"}, "When the site was last listed completely; missing before the first time", ""}

	alertsActive = spec{"epu_alerts", "gauge", []string{"code", "severity"}, "Alerts that hold now", "severity: warning, error; the codes of `epumgmt alerts`"}
	recoveryMode = spec{"epu_store_recovery", "gauge", nil, "1 while the store is in recovery and ends nothing by itself, else 0", ""}
)

// The numbers that the node counts about itself.
var (
	journalDegraded = spec{"epu_journal_degraded", "gauge", nil, "1 while the store can't be written and commands are refused, else 0", ""}
	mailboxDepth    = spec{"epu_mailbox_depth", "gauge", []string{"actor"}, "Messages that wait in mailboxes, by kind of actor", "actor: registry, site, controller"}
	actorRestarts   = spec{"epu_actor_restarts_total", "counter", nil, "Actors that failed and were started again", ""}
	unknownMessages = spec{"epu_unknown_messages_total", "counter", nil, "Messages that an actor had no case for", ""}
	historyDropped  = spec{"epu_history_dropped_total", "counter", nil, "Records that the history lost to its bound or a failing disk", ""}
	eventsDropped   = spec{"epu_event_log_dropped_total", "counter", nil, "Records that could not be written to events.file", ""}
)

// What is counted as it happens.
var (
	decisions        = spec{"epu_decisions_total", "counter", []string{"pool", "direction", "clamped"}, "Decisions that were recorded: all that differ from the one before, and one every 10 minutes", "direction: up, down, hold; clamped: true, false"}
	decisionsEqual   = spec{"epu_decisions_repeated_total", "counter", []string{"pool"}, "Evaluations that decided the same as the record before; counted when the next one is recorded", ""}
	decisionDuration = spec{"epu_decision_duration_seconds", "histogram", nil, "Time that the policy took for a recorded decision", ""}
	policyErrors     = spec{"epu_policy_errors_total", "counter", []string{"pool"}, "Recorded decisions in which the policy failed and the last wish stood", ""}
	launchFailures   = spec{"epu_launch_failures_total", "counter", []string{"site", "kind"}, "Workers that never came to be", "kind: a kind of error, such as capacity or quota, or unknown"}
	events           = spec{"epu_events_total", "counter", []string{"name"}, "Life-cycle events, by name", ""}
	commands         = spec{"epu_commands_total", "counter", []string{"name"}, "Commands in the audit, by name", ""}
	requests         = spec{"epu_http_requests_total", "counter", []string{"route", "code"}, "HTTP requests that were answered", "route: an endpoint, or other"}
	panics           = spec{"epu_http_panics_total", "counter", nil, "HTTP requests that failed through a fault in the node", ""}
)

var buildInfoSpec = spec{"epu_build_info", "gauge", []string{"version", "commit", "go"}, "Always 1; the labels say what runs", ""}

// specs lists every metric in the order of the reference.
func specs() []spec {
	return []spec{
		poolDesired, poolInstances, poolUnhealthy, poolConverged, poolHealth, poolFrozen, poolBackoff,
		decisions, decisionsEqual, decisionDuration, policyErrors,
		launchFailures, siteUp, siteInstances, siteStuck, siteForeign, siteCondemned, siteBudget, siteListing,
		alertsActive, statusUp, journalDegraded, recoveryMode, mailboxDepth, actorRestarts, unknownMessages,
		historyDropped, eventsDropped, events, commands, requests, panics, buildInfoSpec,
	}
}

func (s spec) desc() *prometheus.Desc { return prometheus.NewDesc(s.name, s.help, s.labels, nil) }

func opts(s spec) prometheus.GaugeOpts { return prometheus.GaugeOpts{Name: s.name, Help: s.help} }

func (s spec) counter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: s.name, Help: s.help}, s.labels)
}
