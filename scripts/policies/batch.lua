-- batch: a machine for each queued job of a batch system, and none that has nothing to do.
--
-- Workers that start or are idle already have a job waiting for them, so only what is queued beyond them
-- is launched. A worker that has just come up counts as one of those until it says what it does, since
-- the batch system needs a while to give it a job. A worker that has been idle for long is taken out of
-- service (drained) and then ended, unless a queued job may want it.
--
-- How idle workers are known: each says so (epu-agent idle, epu-agent busy), or a sensor counts them.

local demand = require "lib.demand"
local pool = require "lib.pool"
local reading = require "lib.reading"
local show = require "lib.show"
local window = require "lib.window"

local freshMax = 200 -- workers that came up lately and are remembered; of more, the rest counts as busy

local params = demand.params {
  sensor = {
    type = "sensor", default = "queue-length", aliases = { "queue" },
    doc = "sensor that gives the number of queued jobs, those that run not included",
  },
  jobs_per_worker = { type = "integer", min = 1, default = 1, unit = "jobs", doc = "jobs that one worker runs at a time" },
  idle_for = {
    type = "duration", min = 0, max = 86400, default = "5m",
    doc = "a worker that has had nothing to do for this long may end",
  },
  fresh_for = {
    type = "duration", min = 0, max = 86400, default = "5m",
    doc = "how long a worker that came up and has said nothing yet counts as waiting for its first job",
  },
  idle_sensor = {
    type = "sensor",
    doc = "sensor that counts idle workers, for batch systems that know; without it workers say themselves whether they are idle",
  },
  victims = {
    type = "enum", values = { "newest", "oldest", "idle-longest", "most-expensive", "nearest-charge" }, default = "idle-longest",
    doc = "which of equally dispensable workers end first when there are too many",
  },
}
params.stabilisation = nil -- idle_for takes its place

-- What the workers say of themselves: how many wait for work, which have done so for long (the longest
-- first), and the new list of those that came up lately.
local function look(state, conf)
  local idle, long, fresh = 0, {}, {}
  local before, known, waiting = state.memory.fresh or {}, 0, 0
  for w in state.workers() do
    if w.stage == "starting" then
      if known < freshMax then
        known = known + 1
        fresh[w.id] = 0
      end
    elseif w.stage == "running" and w.idle_since then
      idle = idle + 1
      if state.now - w.idle_since >= conf.idle_for and not w.unhealthy then
        table.insert(long, { id = w.id, since = w.idle_since })
      end
    elseif w.stage == "running" and not w.busy_until and before[w.id] then
      local up = before[w.id] > 0 and before[w.id] or state.now
      if state.now - up < conf.fresh_for and known < freshMax then
        known, waiting = known + 1, waiting + 1
        fresh[w.id] = up
      end
    end
  end
  table.sort(long, function(a, b)
    return a.since < b.since
  end)
  return idle, long, waiting, fresh
end

return {
  doc = "Run a batch system's jobs: a worker for each queued job, ended when it has been idle for long.",

  params = params,

  validate = demand.validate,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local memory, target = state.memory, state.target
    local idle, long, waiting, fresh = look(state, conf)
    memory.fresh = fresh

    local r = reading.of(state, conf.sensor, 0)
    local counted = conf.idle_sensor and reading.of(state, conf.idle_sensor, 0)
    if not r.ok or counted and not counted.ok then
      memory.idle = nil
      demand.hold(control, state, conf, (r.ok and counted or r).text, 0)
      return
    end

    local spare = #long
    if counted then
      idle = counted.value
      memory.idle = memory.idle or {}
      spare = idle
      if conf.idle_for > 0 then -- the fewest that were idle within idle_for; nobody was before anybody looked
        spare = -window.most(memory.idle, state.now, conf.idle_for, -idle, 0)
      end
    end

    local have = demand.have(state)
    local starting, missing = state.starting(), math.max(0, target - have)
    local need = math.ceil(r.value / conf.jobs_per_worker)
    local free = math.floor(idle) + waiting + starting + missing
    local jobs = show.number(r.value) .. (r.value == 1 and " job" or " jobs") .. " queued"
    local p = { n = target, rule = "jobs", span = 0 }
    if need > free then
      p.n = math.max(target, have) + need - free
      p.text = jobs .. " for " .. pool.plural(free, "worker") .. " that are free or starting: " .. (need - free) .. " more"
      demand.settle(control, state, conf, p)
      return
    end

    local go = math.min(spare, free - need, target - conf.min_instances)
    if go <= 0 then
      p.text = jobs .. ", " .. pool.plural(free, "worker") .. " free or starting"
      demand.settle(control, state, conf, p)
      return
    end
    p.n, p.rule = target - go, "idle"
    p.text = jobs .. ", and " .. pool.plural(go, "worker") .. " idle for " .. show.span(conf.idle_for) .. " or longer"
    if not counted then
      local ids = {}
      for i = 1, go do
        ids[i] = long[i].id
      end
      control.drain(ids, { reason = "idle for " .. show.span(conf.idle_for) .. " or longer" })
    end
    demand.settle(control, state, conf, p)
  end,
}
