-- target: as many workers as bring a sensor to a wanted value.
--
-- The sensor is either an average over the workers (load, requests per second of each), or a total that
-- is to be shared among them (length of a queue, requests per second in all):
--   per-worker:  wanted = running workers x value / target
--   total:       wanted = value / target
-- rounded up. Within the tolerance nothing changes, so small movements of the sensor do not move the pool.

local demand = require "lib.demand"
local pool = require "lib.pool"
local reading = require "lib.reading"
local show = require "lib.show"

-- Quotients of decimal numbers are a little off, and one that should be whole must not be rounded up.
local function whole(x)
  return math.ceil(x - 1e-9)
end

return {
  doc = "Track a target: as many workers as bring a sensor to a wanted value.",

  params = demand.params(pool.over({
    sensor = { type = "sensor", required = true, doc = "sensor to look at; it should rise with the work" },
    target = { type = "number", min = 0, required = true, aliases = { "target_value" }, doc = "value wanted for each worker; above 0" },
    mode = {
      type = "enum", values = { "per-worker", "total" }, default = "per-worker",
      doc = "whether the sensor gives an average over the workers or a total that they share",
    },
    tolerance = {
      type = "number", min = 0, max = 1, default = 0.1,
      doc = "nothing changes while the sensor is off its target by at most this share of it",
    },
    min_instances = {
      type = "integer", min = 0, default = 1, unit = "workers", aliases = { "minimum_vms" },
      doc = "never fewer workers than this; 0 only in total mode, since an average needs a worker",
    },
    step_up = { type = "integer", min = 1, unit = "workers", doc = "grow by at most this at once" },
    step_down = { type = "integer", min = 1, unit = "workers", doc = "shrink by at most this at once" },
    starting_allowed = demand.starting_allowed,
  }, reading.params())),

  validate = function(conf)
    if conf.target <= 0 then
      error("target is 0, but must be above it", 0)
    end
    if conf.mode == "per-worker" and conf.min_instances < 1 then
      error("min_instances must be at least 1 in per-worker mode: without a worker there is no average", 0)
    end
    demand.validate(conf)
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local r = reading.sample(state, conf)
    if r.ok and r.value < 0 then
      r = { ok = false, text = conf.sensor .. " is " .. show.number(r.value) .. ", which can't be" }
    end
    if not r.ok then
      demand.hold(control, state, conf, r.text)
      return
    end
    local target, what = state.target, reading.shown(conf, r.value)
    local sharing = target
    if conf.mode == "per-worker" then
      sharing = demand.serving(state)
      if sharing < 1 then
        demand.hold(control, state, conf, "no worker runs, so there is no average")
        return
      end
      what = what .. " per worker"
    end

    local ratio = r.value / conf.target
    local wanted = whole(conf.mode == "per-worker" and sharing * ratio or ratio)
    local off = ratio - 1
    if conf.mode == "total" then
      off = sharing > 0 and ratio / sharing - 1 or ratio > 0 and math.huge or 0
    end
    -- An average says something of as many workers as it was taken over. Those may be more than are wanted:
    -- protected ones, busy ones, or in `combine` those of another rule.
    local base = conf.mode == "per-worker" and math.max(target, sharing) or target
    local p = { n = base, rule = "target" }
    if sharing > 0 and math.abs(off) <= conf.tolerance then
      p.text = what .. " within " .. show.number(conf.tolerance * 100) .. "% of the target " .. show.number(conf.target)
      demand.settle(control, state, conf, p)
      return
    end

    p.text = what .. ", target " .. show.number(conf.target) .. ": " .. pool.plural(wanted, "worker") .. " wanted"
    if off > 0 then
      p.n = math.max(wanted, base)
      if conf.step_up then
        p.n = math.min(p.n, base + conf.step_up)
      end
      -- Workers that start do not share in the average yet; a total does not depend on them.
      local wait = conf.mode == "per-worker" and p.n > base and demand.wait(state, conf)
      if wait then
        p.n, p.text = base, p.text .. ", but " .. wait
      end
    else
      p.n = math.min(wanted, base)
      p.allows = p.n
      if conf.step_down then
        p.n = math.max(p.n, base - conf.step_down)
      end
    end
    demand.settle(control, state, conf, p)
  end,
}
