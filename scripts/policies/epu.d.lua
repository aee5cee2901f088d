---@meta
-- Generated from the tables of package policies by make generate; do not edit.

---What a policy's file returns. Everything but decide is optional.
---@class epu.Policy
---@field doc? string what the policy does, in a sentence
---@field params? table<string, epu.Param> its parameters
---@field validate? (fun(conf: table<string, any>): epu.Finding[]?) rules over several parameters, and over what lists and maps hold; it returns all that is wrong, or refuses a configuration with error("why", 0)
---@field initialize? fun(control: epu.Control, state: epu.State, conf: table<string, any>) called before the first decision after a start, once; again if that decision fails or is refused
---@field decide fun(control: epu.Control, state: epu.State, conf: table<string, any>) called at every tick, never twice at once
---@field reconfigure? fun(control: epu.Control, state: epu.State, conf: table<string, any>, old: table<string, any>, changed: string[]) called before the first decision with a changed configuration, and again if that fails or is refused; changed lists the keys

---How a policy declares a parameter.
---@class epu.Param
---@field type "integer"|"number"|"string"|"boolean"|"duration"|"enum"|"list"|"map"|"sensor"|"site" what it is; a duration is written as 90s or 5m and comes as seconds, a sensor or site is the name of one of the pool's
---@field of? "integer"|"number"|"string"|"boolean"|"duration"|"enum"|"list"|"map"|"sensor"|"site" type of the entries of a list or map; any without it
---@field min? number least value; of durations in seconds, of lists and maps the number of entries
---@field max? number greatest value, in the same way
---@field default? any value where none is given
---@field example? any value with which policy check tries the policy
---@field required? boolean true refuses configurations without it
---@field values? string[] of an enum: the words that there are
---@field unit? string unit, for messages and pages
---@field doc? string what it means, in a sentence
---@field aliases? string[] old names; one that begins with ! means the opposite

---One thing that is wrong with a configuration, of those that validate returns.
---@class epu.Finding
---@field at string|(string|integer)[]|nil where: a parameter, or the way to a value within one, such as {"lines", 2, "cron"}; entries of lists count from 1 here, and from 0 where operators read it: lines[1].cron
---@field text string what is wrong, without the place

---Options of control.scale_to.
---@class epu.ScaleOptions
---@field site? string site of the new workers; without it the pool's placement decides
---@field allocation? string size of the machines in the site's words
---@field market? "on-demand"|"reserved"|"spot" how they are paid for
---@field vars? table<string, string|number|boolean> variables of new workers, on top of the pool's own
---@field victims? "newest"|"oldest"|"idle-longest"|"most-expensive"|"nearest-charge" which of equally dispensable workers end first; newest without it
---@field heal? boolean false leaves failed and unhealthy workers as they are
---@field urgency? "low"|"normal"|"high" low: a surplus worker whose next charge is known ends only in the last ten minutes before it; high: launches do not wait out the backoff after failed ones. All other guard rails hold in any case
---@field sites? table<string, integer> workers wanted per site, as with control.place

---What only a named worker has.
---@class epu.WantSpec
---@field site? string site of the new workers; without it the pool's placement decides
---@field allocation? string size of the machines in the site's words
---@field market? "on-demand"|"reserved"|"spot" how they are paid for
---@field vars? table<string, string|number|boolean> variables of new workers, on top of the pool's own

---Options of control.launch.
---@class epu.LaunchOptions
---@field count? integer how many, 1 to 1000; 1 without it
---@field name? string of a unique worker, which control.want must go on wanting
---@field site? string site of the new workers; without it the pool's placement decides
---@field allocation? string size of the machines in the site's words
---@field market? "on-demand"|"reserved"|"spot" how they are paid for
---@field vars? table<string, string|number|boolean> variables of new workers, on top of the pool's own
---@field reason? string why, in a sentence

---Options of control.terminate, drain and resume.
---@class epu.ActOptions
---@field reason? string why, in a sentence

---A reason.
---@class epu.Reason
---@field text string a sentence without a full stop
---@field rule? string short name of the rule that fired

---Options of control.configure.
---@class epu.ConfigureOptions
---@field tick number seconds between decisions, 0.1 to 86400

---A worker, read-only and valid during the call that it was made in.
---@class epu.Worker
---@field id string its ID, which may be kept in state.memory
---@field name? string of a unique worker
---@field state string life-cycle state as a word, such as RUNNING
---@field stage "starting"|"running"|"draining"|"ending" the state in short
---@field health string health as a word, such as OK
---@field unhealthy boolean whether it should be replaced
---@field draining boolean whether it takes no new work and ends when idle
---@field protected boolean whether an operator keeps it from being ended
---@field age number seconds since its launch was opened
---@field site? string where it is
---@field zone? string the zone, once it is known
---@field allocation? string its size
---@field market? "on-demand"|"reserved"|"spot" how it is paid for
---@field price? number US dollars per hour, where known
---@field charge_in? number seconds until its next charge; nil when not known or charged by the second
---@field vars table<string, string> a copy of its own variables
---@field idle_since? number unix seconds; nil when busy or not reported
---@field busy_until? number end of its busy lease in unix seconds
---@field asked? string the ID that control.launch gave for it, if a policy launched it

---Which workers are meant: those for which all that is given holds.
---@class epu.Filter
---@field allocation? string size
---@field draining? boolean whether they drain
---@field health? string a word such as OK
---@field market? string on-demand, reserved or spot
---@field name? string name of a unique worker
---@field protected? boolean whether an operator keeps them from being ended
---@field site? string site
---@field stage? "starting"|"running"|"draining"|"ending" the state in short
---@field state? string a word such as RUNNING
---@field unhealthy? boolean whether they should be replaced
---@field zone? string zone

---Options of state.time.
---@class epu.TimeOptions
---@field zone? string name of a time zone such as Europe/Berlin; UTC without it

---A time on the clocks of a zone.
---@class epu.Time
---@field year integer such as 2026
---@field month integer 1 to 12
---@field day integer 1 to 31
---@field hour integer 0 to 23
---@field min integer 0 to 59
---@field sec integer 0 to 59
---@field wday integer day of the week; 1 is Sunday
---@field yday integer day of the year
---@field offset integer seconds that the zone is ahead of UTC

---The newest reading of a sensor. Only ok is to be relied on: stale is too old, warming comes from a source that has just started, unknown has no value at all.
---@class epu.Reading
---@field value? number nil when unknown
---@field time? number unix seconds at which it was taken
---@field age number seconds since then
---@field quality "ok"|"stale"|"unknown"|"warming" how far it can be trusted

---A sensor's readings over a span that ends now.
---@class epu.Window
---@field mean number over time: a value holds until the next one
---@field min number the smallest
---@field max number the largest
---@field last number the newest
---@field slope number change per second, by least squares
---@field count integer how many readings
---@field covers number seconds of the span that readings speak for
---@field quality "ok"|"stale"|"warming" the worst among them

---A finite amount of work, as far as sensors know it.
---@class epu.Work
---@field left? number work not yet done
---@field rate? number work done per second by all workers
---@field quality "ok"|"stale"|"unknown"|"warming" the worse of the two readings; unknown when there are none
---@field age? number seconds since left was read
---@field deadline? number unix seconds by which it should be done
---@field time_left? number seconds until the deadline; negative when it has passed

---One step in a worker's life.
---@class epu.Change
---@field worker string the worker's ID
---@field what "state"|"health"|"draining"|"gone" what changed
---@field from? string the word before
---@field to string the word after
---@field time number unix seconds

---Which offers are meant.
---@class epu.OfferFilter
---@field site? string only of this site
---@field allocation? string only of this size
---@field zone? string only in this zone
---@field market? "on-demand"|"reserved"|"spot" only of this market

---One thing that can be bought now.
---@class epu.Offer
---@field site string where
---@field allocation string the size
---@field zone? string the zone, where prices differ by zone
---@field market "on-demand"|"reserved"|"spot" how it is paid for
---@field price number US dollars per hour
---@field free integer how many of a reservation are free; 0 for other markets

---What the pool costs and may cost, in US dollars per hour.
---@class epu.Budget
---@field limit? number the pool's limits.spend; nil without one
---@field now number what the open workers with a known price cost
---@field left? number the limit less what they cost, at least 0; nil without a limit
---@field unknown integer open workers without a known price

---One entry of the pool's placement.
---@class epu.Place
---@field site string where
---@field allocation? string the size, where the placement names one
---@field market? "on-demand"|"reserved"|"spot" how it is paid for, where the placement says so
---@field max? integer how many workers of the pool may be there; nil without a limit of its own
---@field backoff number seconds until launches at this site may be tried again after failures there

---Something that the guard rails refused.
---@class epu.Refusal
---@field rule string the guard rail, such as limits.max
---@field text string what was refused, and why

---One test of a policy. Without steps it is a single decision.
---@class epu.TestCase : epu.TestStep
---@field name string what the test shows; it stands in messages
---@field doc? string why it matters, in prose
---@field conf? table<string, any> the configuration, as an operator writes it
---@field refused? string part of the text with which that configuration is refused; nothing is decided then
---@field start? string time before the first decision, such as 2026-03-29T00:00:00Z; default 2026-01-01T00:00:00Z
---@field steps? epu.TestStep|epu.TestStep[] decisions that follow each other; without it, the case itself is the only one. Of what is around the pool, what the case says holds from the first step on

---One decision of a test. What a step leaves out of workers, sensors, work, windows, places and site_backoff stays as it was in the step before.
---@class epu.TestStep
---@field after? number seconds since the decision before; default 5
---@field reconfigure? table<string, any> settings that change before this decision
---@field reconfigure_refused? string part of the text with which that change is refused; nothing changes then
---@field workers? epu.TestWorker|epu.TestWorker[] the workers that there are
---@field sensors? table<string, number|epu.TestSensor> newest readings by sensor; a number is a good reading of now
---@field wish? integer target in force; default what the step before wished for
---@field backoff? number seconds until launches may be tried again
---@field restart? boolean the controller starts anew before this decision
---@field clamped? table<string, string>|table<string, string>[] what the guard rails refused of the decision before, as state.refused() says it
---@field expect? epu.TestExpect what the decision should be
---@field work? epu.TestWork a finite amount of work
---@field windows? table<string, epu.TestWindow> readings over a span by sensor; the same for every span
---@field places? string|string[] sites of the placement of the pool
---@field site_backoff? table<string, number> seconds until launches at a site may be tried again, by site

---What a decision should be. What it leaves out is not looked at.
---@class epu.TestExpect
---@field target? integer how many workers are wanted
---@field uniques? table<string, any> every named worker that is wanted, with its variables, or true for any; {} for none
---@field heal? boolean whether failed workers are replaced
---@field victims? string who is ended first
---@field site? string where new workers go
---@field allocation? string their allocation
---@field vars? table<string, any> their variables
---@field because? string|string[] parts of reasons that are given
---@field alert? string part of an alert
---@field error? string part of the error; without it there must be none
---@field actions? integer how many launches, terminations, drains and resumptions are asked for
---@field sites? table<string, integer> workers wanted at named sites

---One worker, or several that are equal.
---@class epu.TestWorker
---@field count? integer how many such workers; default 1
---@field id? string its ID, for one that expectations name; default one made up
---@field name? string its name, of a unique worker
---@field state? string its state; default RUNNING
---@field health? string its health; default OK
---@field age? number seconds since it was requested; default 600
---@field site? string its site
---@field zone? string its zone
---@field allocation? string its allocation
---@field market? string spot or on-demand
---@field vars? table<string, string> its variables
---@field draining? boolean whether it is being drained
---@field protected? boolean whether an operator protects it
---@field ended? boolean whether its end was ordered
---@field idle_for? number seconds since when it has been idle; without it, not idle
---@field busy_for? number seconds that its lease as busy lasts; without it, not busy

---The newest reading of a sensor.
---@class epu.TestSensor
---@field value? number the value
---@field age? number seconds since it was read
---@field quality? string ok, stale, unknown or warming; default ok

---The readings of a sensor over a span.
---@class epu.TestWindow
---@field mean? number mean
---@field min? number least
---@field max? number greatest
---@field last? number newest
---@field slope? number change per second
---@field covers? number seconds with readings; default the whole span
---@field quality? string ok, stale, unknown or warming; default ok

---A finite amount of work.
---@class epu.TestWork
---@field left? number how much is left; without it, unknown
---@field rate? number how much is done per second; without it, unknown
---@field age? number seconds since both were read
---@field quality? string of both readings: ok, stale, unknown or warming; default ok
---@field due_in? number seconds from this decision to the deadline; without it there is none

---@class epu.Control
local control = {}

---Wishes for n workers in all, named ones included, up to 100000. The wish is carried out until another takes its place.
---@param n integer
---@param opts? epu.ScaleOptions
function control.scale_to(n, opts) end

---Wishes for one worker with a name and, in spec, what only it has. A name that is not wished for in a decision is unwanted.
---@param name string
---@param spec? epu.WantSpec
function control.want(name, spec) end

---Wishes for n of the workers at this site, 0 for none there; of a surplus, those beyond end first. What scale_to wants beyond all places goes where the pool's placement says. What a site refuses goes to sites without a number, never to another one beyond its own, and waits if there is none.
---@param site string
---@param n integer
function control.place(site, n) end

---Gives a reason: a text and perhaps a short name of the rule. Explanations show it.
---@param reason string|epu.Reason
---@param rule? string
function control.because(reason, rule) end

---Tells the operators something.
---@param text string
function control.alert(text) end

---Changes how the policy runs.
---@param opts epu.ConfigureOptions
function control.configure(opts) end

---Asks once for new workers, and returns an ID for each by which state.worker finds it at later decisions. They count toward scale_to of the same decision. What the guard rails refuse is in state.refused() at the next decision, and not tried again.
---@param opts? epu.LaunchOptions
---@return string[]
function control.launch(opts) end

---Asks once to end these workers, and returns how many. A worker whose busy lease is in force drains first. What the pool's limits on endings refuse is in state.refused() at the next decision. A decision that ends more than half of the workers in service, and more than these limits allow in a whole window, is refused as a whole: use drain, or wish for fewer.
---@param ids string|epu.Worker|(string|epu.Worker)[]
---@param opts? epu.ActOptions
---@return integer
function control.terminate(ids, opts) end

---Asks once to take these workers out of service and to end them when they are idle, and returns how many.
---@param ids string|epu.Worker|(string|epu.Worker)[]
---@param opts? epu.ActOptions
---@return integer
function control.drain(ids, opts) end

---Asks once to put draining workers back into service, and returns how many.
---@param ids string|epu.Worker|(string|epu.Worker)[]
---@param opts? epu.ActOptions
---@return integer
function control.resume(ids, opts) end

---@class epu.State
---@field now number The time of this decision in unix seconds.
---@field target integer The wish in force, after the guard rails: workers in all.
---@field memory table A table that is kept between decisions and over restarts (a change that comes without another wish or an action is on disk within a minute): texts, numbers, booleans and tables of them, at most 64 KiB.
---@field params table<string, any> The policy's configuration, the same as conf.
local state = {}

---The time of this decision on the clocks of a zone.
---@param opts? epu.TimeOptions
---@return epu.Time
function state.time(opts) end

---How many workers run.
---@return integer
function state.running() end

---How many workers are requested, booting or not ready yet.
---@return integer
function state.starting() end

---How many workers are draining; they also count as running.
---@return integer
function state.draining() end

---How many workers are unhealthy; they also count as starting or running.
---@return integer
function state.unhealthy_count() end

---How many workers pass a filter.
---@param filter? epu.Filter
---@return integer
function state.count(filter) end

---Iterates over workers, oldest first: for w in state.workers{stage = "running"} do ... end.
---@param filter? epu.Filter
---@return fun(): epu.Worker?
function state.workers(filter) end

---Iterates over the unhealthy workers, oldest first.
---@return fun(): epu.Worker?
function state.unhealthy() end

---The worker with this ID, or nil. An ID that control.launch gave finds the worker that came of it.
---@param id string
---@return epu.Worker?
function state.worker(id) end

---The newest reading of a sensor; nil if none ever came.
---@param id string
---@return epu.Reading?
function state.sensor(id) end

---A sensor's readings over the last so many seconds, summed up; nil if there are none or if anything among them is unknown.
---@param id string
---@param seconds number
---@return epu.Window?
function state.window(id, seconds) end

---What happened to workers since the last decision, oldest first; at most the newest 1000.
---@return epu.Change[]
function state.changes() end

---A finite amount of work and its deadline; nil for pools that have none.
---@return epu.Work?
function state.work() end

---What machines cost now at the sites of the pool's placement, cheapest first. A text is an allocation.
---@param filter? string|epu.OfferFilter
---@return epu.Offer[]
function state.offers(filter) end

---What the pool costs and may cost.
---@return epu.Budget
function state.budget() end

---The pool's placement, in its order.
---@return epu.Place[]
function state.places() end

---Seconds until launches may be tried again, in the pool or at one site; 0 when they may be tried now.
---@param site? string
---@return number
function state.backoff(site) end

---What the guard rails refused of the last decision.
---@return epu.Refusal[]
function state.refused() end

---@class epu.Cron
cron = {}

---When a line such as "30 8 * * MON-FRI" is due next after a time, in unix seconds; after state.now unless another time is given. UTC without a zone. nil if never in nine years.
---@param line string
---@param zone? string
---@param after? number
---@return number?
function cron.next(line, zone, after) end

---When a line was due last, at this time or before it.
---@param line string
---@param zone? string
---@param at? number
---@return number?
function cron.prev(line, zone, at) end

---Fails with what is wrong with a line or a zone, such as a day that no year has: for validate.
---@param line string
---@param zone? string
function cron.check(line, zone) end

---@class epu.Text
text = {}

---The captures of the first match of a regular expression, or the match itself when there are none; nil without a match.
---@param s string
---@param re string
---@return string?
function text.match(s, re) end

---First and last position of the first match, counted from 1; nil without a match.
---@param s string
---@param re string
---@return integer?
---@return integer?
function text.find(s, re) end

---Every match replaced; $1 or ${name} in the replacement stand for captures.
---@param s string
---@param re string
---@param with string
---@return string
function text.gsub(s, re, with) end

---The list of parts between matches.
---@param s string
---@param re string
---@return string[]
function text.split(s, re) end

---Whether the plain text part occurs in s.
---@param s string
---@param part string
---@return boolean
function text.contains(s, part) end

---@class epu.Test
test = {}

---Names the policy that the cases of this file are about, by its file without .lua. It is looked up beside the test first.
---@param name string
function test.policy(name) end

---States one test: a situation, or several that follow each other, and what the policy should want in it. A key that does not exist is an error; what expect leaves out is not looked at.
---@param case epu.TestCase
function test.case(case) end
