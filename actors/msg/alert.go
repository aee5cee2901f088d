package msg

// AlertCode names a kind of alert or check. Codes are short and stable: people silence checks by them.
type AlertCode string

// The alerts of a node, and the checks of its doctor.
const (
	AlertPolicyFailing   AlertCode = "policy-failing"
	AlertWorkersSilent   AlertCode = "workers-silent"
	AlertLaunchesFailing AlertCode = "launches-failing"
	AlertFrozen          AlertCode = "frozen-by-failures" // limits.freeze_on_failures
	AlertSensor          AlertCode = "sensor-failing"
	AlertHook            AlertCode = "hook-given-up"
	AlertPolicy          AlertCode = "policy-alert"  // the policy's own words
	AlertPolicyBroken    AlertCode = "policy-broken" // its newest version is not in force
	AlertEndingStuck     AlertCode = "ending-stuck"
	AlertSiteUnreachable AlertCode = "site-unreachable"
	AlertSiteRecovery    AlertCode = "site-recovery"
	AlertStrays          AlertCode = "strays"
	AlertStore           AlertCode = "store"
	AlertRecovery        AlertCode = "recovery"

	CheckStore  AlertCode = "store"
	CheckSites  AlertCode = "sites"
	CheckPools  AlertCode = "pools"
	CheckActors AlertCode = "actors"
)

// FreezeOnFailures stands for who froze a pool after too many failed launches in a row.
const FreezeOnFailures = "limits.freeze_on_failures"

// AlertCodes lists every code that a node of this version may give to an alert or check.
func AlertCodes() []AlertCode {
	return []AlertCode{
		AlertPolicyFailing, AlertWorkersSilent, AlertLaunchesFailing, AlertFrozen, AlertSensor, AlertHook, AlertPolicy, AlertPolicyBroken,
		AlertEndingStuck, AlertSiteUnreachable, AlertSiteRecovery, AlertStrays, AlertStore, AlertRecovery, CheckSites, CheckPools, CheckActors,
	}
}
