-- finish_by: the fewest workers that finish a finite amount of work by its deadline.
--
-- What is left, and until when, is in the `work` section of the pool's file. How much a worker does per
-- second is learned from how the rest becomes less. A worker that is not up yet works only after its boot
-- time. Since a machine costs the same whether it works early or late, the fewest workers that make it are
-- also the cheapest; a margin pays for what nobody foresees.

local demand = require "lib.demand"
local pool = require "lib.pool"
local rate = require "lib.rate"
local show = require "lib.show"

-- How many workers do `amount` within `span` seconds, each doing `per` a second: those that run, then those
-- that start, then new ones. nil if none could help in time.
local function workers_for(state, amount, span, per, boot)
  local running = state.running() - state.draining()
  local one = per * span
  if running * one >= amount then
    return math.ceil(amount / one - 1e-9)
  end
  local n, rest = running, amount - running * one
  for w in state.workers { stage = "starting" } do
    rest = rest - per * math.max(0, span - math.max(0, boot - w.age))
    n = n + 1
    if rest <= 0 then
      return n
    end
  end
  if span <= boot then
    return nil
  end
  return n + math.ceil(rest / (per * (span - boot)) - 1e-9)
end

-- How many workers to have once it is too late: as many as can do the rest in the time that one needs to boot.
-- More would come up to find nothing left, as after the last long job of many.
local function needed_late(amount, per, conf)
  if per == nil then
    return conf.max_instances
  end
  return math.min(conf.max_instances, math.ceil(amount / (per * math.max(conf.boot_time, 60))))
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
    late = {
      type = "enum", values = { "max", "keep" }, default = "max",
      doc = "what to do when the deadline has passed or can't be met: go to max_instances, or to fewer if they can do the rest within a "
        .. "boot_time, or keep what there is",
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
    local serving = state.running() - state.draining()
    memory.learned = memory.learned or {}
    local seen = work.quality == "ok" and work.left ~= nil
    rate.learn(memory.learned, state.now, serving, seen and work.left or nil, seen and state.now - work.age or nil)
    if not seen then
      demand.hold(control, state, conf, "how much work is left is " .. (work.quality == "ok" and "unknown" or work.quality))
      return
    end

    local left = work.left
    if left <= 0 then
      demand.settle(control, state, conf, { n = 0, text = "no work is left", rule = "done" })
      return
    end
    local text = show.number(left) .. " left"
    if work.time_left == nil then
      demand.hold(control, state, conf, text .. ", but there is no deadline")
      return
    end

    local per, count = rate.learned(memory.learned)
    if work.rate and work.rate > 0 and serving > 0 then
      per = work.rate / serving
    elseif count < 3 then
      per = conf.rate_per_worker or per
    end
    local span = work.time_left
    if span > 0 and per == nil then
      demand.settle(control, state, conf, {
        n = math.max(target, 1), floor = 1, text = text .. ", and it is not known yet how much a worker does", rule = "learn",
      })
      return
    end

    local n = span > 0 and workers_for(state, left * (1 + conf.margin), span, per, conf.boot_time)
    if n then
      text = text .. " for " .. show.span(span) .. ", a worker does " .. show.number(per) .. " per second: " .. pool.plural(n, "worker")
    elseif span > 0 then
      text = text .. " for " .. show.span(span) .. ", too little for " .. show.number(serving) .. " running, and new ones would come too late"
    else
      text = text .. ", and the deadline passed " .. show.span(-span) .. " ago"
    end
    local p = { n = n, floor = 1, text = text, rule = "deadline" }
    if not n or n > conf.max_instances then
      control.alert("the work can't be done by its deadline with at most " .. pool.plural(conf.max_instances, "worker"))
      p.n, p.rule = n or needed_late(left, per, conf), "late"
      if conf.late == "keep" then
        p.n = math.min(p.n, math.max(target, 1))
      end
    end
    demand.settle(control, state, conf, p)
  end,
}
