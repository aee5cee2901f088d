-- finish_by: the fewest workers that finish a finite amount of work by its deadline.
--
-- What is left, and until when, is in the `work` section of the pool's file. How much a worker does per
-- second is learned from how the rest becomes less. A worker that is not up yet works only after its boot
-- time. Since a machine costs the same whether it works early or late, the fewest workers that make it are
-- also the cheapest; a margin pays for what nobody foresees.
--
-- Work comes in pieces that can't be divided: jobs, frames, files. Whoever comes up can only do whole ones,
-- so nobody is launched who could not finish one in time, and nobody for whom none is left. Without that, the
-- last job of many would be given ever more workers while its time runs out.

local demand = require "lib.demand"
local pool = require "lib.pool"
local rate = require "lib.rate"
local show = require "lib.show"

-- How long a worker works on one piece; 0 when it can't be known. What is left is taken to be a number of
-- pieces as long as it has always been whole.
local function length_of(memory, conf, per)
  if conf.job_length == 0 and per and not memory.divided then
    return 1 / per
  end
  return conf.job_length
end

-- How many pieces are left; endless when it can't be known.
local function pieces_of(memory, left, per, length)
  if not memory.divided then
    return left
  end
  return per and length > 0 and math.ceil(left / (per * length) - 1e-9) or math.huge
end

-- The part of a time in which whole pieces are done, for somebody who has begun none.
local function useful(span, length)
  if length == 0 or span <= 0 then
    return math.max(0, span)
  end
  return math.floor(span / length + 1e-9) * length
end

-- How many workers do what is left and the margin in time: those that run, then those that start, then new
-- ones. nil if nobody who is not running could help.
local function workers_for(state, conf, job)
  local amount, running = job.left * (1 + conf.margin), demand.serving(state)
  local one = job.per * job.span
  if running * one >= amount then
    return math.ceil(amount / one - 1e-9)
  end
  local n, rest = running, amount - running * one
  for w in state.workers { stage = "starting" } do
    rest = rest - job.per * useful(job.span - math.max(0, conf.boot_time - w.age), job.length)
    n = n + 1
    if rest <= 0 then
      return n
    end
  end
  local new = job.per * useful(job.span - conf.boot_time, job.length)
  return new > 0 and n + math.ceil(rest / new - 1e-9) or nil
end

-- How many workers to have once it is too late, and why: as many as can do the rest in the time that one needs
-- to boot or to do a piece. More would come up to find nothing left, as after the last long job of many.
local function needed_late(conf, job)
  local within, named = conf.boot_time, "boot_time"
  if job.length > within then
    within, named = job.length, conf.job_length == job.length and "job_length" or "time of a piece"
  end
  local n = job.per and within > 0 and math.ceil(job.left / (job.per * within) - 1e-9) or math.huge
  if n < math.min(conf.max_instances, job.pieces) then
    return n, pool.plural(n, "worker") .. ", which " .. (n == 1 and "does" or "do") .. " the rest within the " .. named .. " of " .. show.span(within)
  elseif job.pieces <= conf.max_instances then
    return job.pieces, pool.plural(job.pieces, "worker") .. ", as many as pieces"
  end
  return conf.max_instances, pool.plural(conf.max_instances, "worker") .. ", the max_instances"
end

-- What to propose for a job {left, span, per, length, pieces}.
local function plan(control, state, conf, job)
  local serving, target = demand.serving(state), state.target
  local text, n = show.number(job.left) .. " left", nil
  if job.span <= 0 then
    text = text .. ", and the deadline passed " .. show.span(-job.span) .. " ago"
  else
    text = text .. " for " .. show.span(job.span)
    n = workers_for(state, conf, job)
    if n == nil and serving >= job.pieces then
      return { n = math.max(target, job.pieces), text = text .. ", and as many workers as pieces: more would find nothing to do", rule = "deadline" }
    elseif n ~= nil then
      n = math.min(n, math.max(demand.have(state), job.pieces))
      text = text .. ", a worker does " .. show.number(job.per) .. " per second: " .. pool.plural(n, "worker")
      if n <= conf.max_instances then
        return { n = n, text = text, rule = "deadline" }
      end
    else
      text = text .. ", too little for " .. show.number(serving) .. " running, and new ones would come too late"
    end
  end
  control.alert("the work can't be done by its deadline with at most " .. pool.plural(conf.max_instances, "worker"))
  if n == nil then
    local why
    n, why = needed_late(conf, job)
    text = text .. ": " .. why
  end
  local most = conf.late == "keep" and math.max(target, 1) or n
  if most < n then
    n, text = most, text .. ", but late is keep: " .. most
  end
  return { n = n, text = text, rule = "late" }
end

return {
  doc = "Finish a finite amount of work by its deadline, with the fewest workers that make it.",

  params = demand.params {
    max_instances = {
      type = "integer", min = 1, required = true, unit = "workers", aliases = { "maximum_vms" },
      doc = "never more workers than this",
    },
    rate_per_worker = {
      type = "number", min = 0,
      doc = "work that one worker does per second, as a first guess until three samples have shown it; without it one worker is "
        .. "launched to learn from",
    },
    margin = { type = "number", min = 0, max = 10, default = 0.1, doc = "plan for this share more work than is left" },
    boot_time = {
      type = "duration", min = 0, max = 86400, default = "3m",
      doc = "from the launch of a worker until it works",
    },
    job_length = {
      type = "duration", min = 0, max = 604800, default = "0s",
      doc = "how long a worker works on one piece, about: nobody is launched to make the deadline who could not finish one before it; "
        .. "0s takes the learned rate, if what is left is a number of pieces",
    },
    late = {
      type = "enum", values = { "max", "keep" }, default = "max",
      doc = "what to do when the deadline has passed or can't be met: go to max_instances, or to fewer if they can do the rest within a "
        .. "boot_time or a job_length, the longer of them, and though they finish after the deadline; or keep what there is",
    },
  },

  validate = function(conf)
    demand.validate(conf)
    if conf.rate_per_worker == 0 then
      error("rate_per_worker is 0: leave it out when it is not known", 0)
    end
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local memory, work, target = state.memory, state.work(), state.target
    if work == nil then
      demand.hold(control, state, conf, "the pool's file has no work section")
      return
    end
    local serving = demand.serving(state)
    memory.learned = memory.learned or {}
    local seen = work.quality == "ok" and work.left ~= nil
    local left, at = seen and work.left or nil, seen and state.now - work.age or nil
    memory.divided = memory.divided or left ~= nil and left ~= math.floor(left)
    rate.learn(memory.learned, state.now, serving, left, at, length_of(memory, conf, (rate.learned(memory.learned))))
    if left == nil then
      demand.hold(control, state, conf, "how much work is left is " .. (work.quality == "ok" and "unknown" or work.quality))
      return
    end
    if left <= 0 then
      demand.settle(control, state, conf, { n = 0, text = "no work is left", rule = "done" })
      return
    end
    if work.time_left == nil then
      demand.hold(control, state, conf, show.number(left) .. " left, but there is no deadline")
      return
    end

    local per, count = rate.learned(memory.learned)
    if work.rate and work.rate > 0 and serving > 0 then
      per = work.rate / serving
    elseif count < 3 then
      per = conf.rate_per_worker or per
    end
    local p
    if work.time_left > 0 and per == nil then
      p = { n = math.max(target, 1), text = show.number(left) .. " left, and it is not known yet how much a worker does", rule = "learn" }
    else
      local length = length_of(memory, conf, per)
      p = plan(control, state, conf, {
        left = left, span = work.time_left, per = per, length = length, pieces = pieces_of(memory, left, per, length),
      })
    end
    demand.settle(control, state, conf, p)
  end,
}
