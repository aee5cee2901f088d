-- batch: a machine for each queued job of a batch system, and none that has nothing to do.
--
-- Workers that start or are idle already have a job waiting for them, so only what is queued beyond them
-- is launched. A worker that has just come up counts as one of those until it says what it does, since
-- the batch system needs a while to give it a job. One reading of the queue launches for each of its jobs
-- once: workers that have become busy since then have most likely taken just these. A worker that has been
-- idle for long is taken out of service (drained) and then ended, unless a queued job may want it.
--
-- How idle workers are known: each says so (epu-agent idle, epu-agent busy), or a sensor counts them.

local demand = require "lib.demand"
local pool = require "lib.pool"
local reading = require "lib.reading"
local show = require "lib.show"
local window = require "lib.window"

local freshMax = 400 -- workers that came up lately and are remembered; of more, the rest is judged by its age
local slack = 0.001 -- seconds by which times may differ for want of digits

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
    doc = "sensor that counts the pool's idle workers, for batch systems that know, and no other machines; without it workers say themselves "
      .. "whether they are idle",
  },
  victims = {
    type = "enum", values = { "newest", "oldest", "idle-longest", "most-expensive", "nearest-charge" }, default = "idle-longest",
    doc = "which of equally dispensable workers end first when there are too many",
  },
}
params.stabilisation = nil -- idle_for takes its place

-- Since when a silent worker is up: nil once it has said anything, for then it could have taken a job.
-- It may have come up between two decisions, so that none saw it start.
local function upSince(state, w)
  local up = (state.memory.fresh or {})[w.id]
  if up == false then
    return nil
  end
  local launched = state.now - w.age
  if up == 0 or up == nil and launched >= (state.memory.looked or state.now) - slack then
    return state.now
  end
  return up or launched
end

-- What the workers say of themselves, as seen with a reading that was taken at a time: how many are idle,
-- which have been so for long (the longest first), how many others count for a job of that reading, and
-- how many an operator keeps that may be idle. What there is to remember goes to the memory.
local function look(state, conf, taken)
  local seen = { idle = 0, long = {}, waiting = 0, kept = 0 }
  local fresh, known = {}, 0
  local function note(id, up)
    if known < freshMax then
      known, fresh[id] = known + 1, up
    end
  end
  for w in state.workers() do
    if w.stage == "starting" then
      note(w.id, 0)
    elseif w.stage == "running" then
      local silent = not w.idle_since and not w.busy_until
      local up = silent and upSince(state, w)
      if up and state.now - up < conf.fresh_for then
        note(w.id, up)
      else
        up = nil
        if w.age < conf.fresh_for then
          note(w.id, false)
        end
      end
      if w.idle_since then
        seen.idle = seen.idle + 1
        if state.now - w.idle_since >= conf.idle_for and not w.unhealthy and not w.protected then
          table.insert(seen.long, { id = w.id, since = w.idle_since })
        end
      elseif up or taken and state.now - w.age >= taken - slack then -- its job was still queued when the reading was taken
        seen.waiting = seen.waiting + 1
      end
      if w.protected and not w.busy_until then
        seen.kept = seen.kept + 1
      end
    end
  end
  table.sort(seen.long, function(a, b)
    return a.since < b.since
  end)
  state.memory.fresh, state.memory.looked = fresh, state.now
  return seen
end

-- For how many of the workers that a reading asks for there were some at an earlier decision: those may
-- be busy with just these jobs by now. What the guard rails took off the wish was never there.
local function provided(state, r)
  local last = state.memory.provided
  if not last or r.time > last.time then
    return 0
  end
  return math.max(0, last.n - math.max(0, last.asked - state.target))
end

-- How many idle workers may go as far as they are concerned. Counted is how many of those here a sensor says
-- are idle.
local function spareOf(state, conf, seen, counted)
  if not counted then
    return #seen.long
  end
  local memory, spare = state.memory, counted
  memory.idle = memory.idle or {}
  if conf.idle_for > 0 then -- the fewest that were idle within idle_for; nobody was before anybody looked
    spare = -window.most(memory.idle, state.now, conf.idle_for, -spare, 0)
  end
  return math.max(0, spare - seen.kept) -- those that an operator keeps may be just the idle ones
end

-- Notes the target while the pool's guard rails (limits.min) keep it above what was asked for. That stays true
-- while those that came in place of others start and nothing else changes.
local function hold(state)
  local memory, target = state.memory, state.target
  if memory.provided and memory.provided.asked < target then
    memory.held = target
  elseif memory.held ~= target then
    memory.held = nil
  end
end

-- Takes back what nobody needs: first launches that have not begun, then workers that have been idle for
-- long. Workers beyond the target are going already, so the wish does not fall for them once more.
--
-- What guard rails keep is asked for less of again and again, but not drained: it would be replaced, for ever.
local function shrink(control, state, conf, p, spare)
  local target, have = state.target, demand.have(state)
  local drop = math.max(0, math.min(target - have, spare.free, target - conf.min_instances))
  local go = math.max(0, math.min(spare.idle, spare.free - drop, math.max(have, target - drop) - conf.min_instances))
  p.n = target - drop - math.max(0, go - math.max(0, have - target))
  if drop + go == 0 then
    return
  end
  p.text = spare.jobs
  if drop > 0 then
    p.text = p.text .. ", so " .. pool.plural(drop, "worker") .. " still to be launched " .. (drop == 1 and "is" or "are") .. " not needed"
  end
  if go == 0 then
    return
  end
  local since = "idle for " .. show.span(conf.idle_for) .. " or longer"
  p.rule, p.text = "idle", p.text .. ", and " .. pool.plural(go, "worker") .. " " .. since
  if state.memory.held then
    go = math.min(go, math.max(0, have - target))
    p.text = p.text .. ", but guard rails keep " .. target
  end
  local ids = {}
  for i = 1, spare.long and go or 0 do
    ids[i] = spare.long[i].id
  end
  control.drain(ids, { reason = since })
end

return {
  doc = "Run a batch system's jobs: a worker for each queued job, ended when it has been idle for long.",

  params = params,

  validate = demand.validate,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local memory, target = state.memory, state.target
    local r = reading.of(state, conf.sensor, 0)
    local seen = look(state, conf, r.time)
    hold(state)
    local counted = conf.idle_sensor and reading.of(state, conf.idle_sensor, 0)
    if not r.ok or counted and not counted.ok then
      memory.idle = nil
      demand.hold(control, state, conf, (r.ok and counted or r).text, 0)
      return
    end

    local have, here = demand.have(state), demand.serving(state)
    local idle = counted and math.min(math.floor(counted.value), here) -- it may count those of a whole cluster
    local spare = spareOf(state, conf, seen, idle)
    local need = math.ceil(r.value / conf.jobs_per_worker)
    -- Who waits for a first job may be one of those that a sensor counts.
    local free = math.min((idle or seen.idle) + seen.waiting, here) + state.starting() + math.max(0, target - have)
    local jobs = show.number(r.value) .. (r.value == 1 and " job" or " jobs") .. " queued"
    local p = { n = target, rule = "jobs", span = 0, floor = math.min(1, need) }
    local before = math.min(need, provided(state, r))
    if before > free then
      p.text = jobs .. " at a reading for which there were " .. pool.plural(before, "worker") .. " already"
      free = before
    end
    local more = need - free
    if more > 0 then
      p.n = math.max(target, have) + more
      p.text = jobs .. " for " .. pool.plural(free, "worker") .. " that are free or starting: " .. more .. " more"
    else
      p.text = p.text or jobs .. ", " .. pool.plural(free, "worker") .. " free or starting"
      shrink(control, state, conf, p, { jobs = jobs, free = -more, idle = spare, long = not counted and seen.long })
    end
    if counted and idle < math.floor(counted.value) then
      p.text = p.text .. "; " .. conf.idle_sensor .. " counts " .. show.number(math.floor(counted.value)) .. " idle, but only " .. idle
        .. (idle == 1 and " runs" or " run") .. " here"
    end
    local n = demand.settle(control, state, conf, p)
    memory.provided = { time = r.time, n = math.min(need, n, free + math.max(0, n - math.max(target, have))), asked = n }
  end,
}
