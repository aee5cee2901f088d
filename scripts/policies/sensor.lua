-- sensor: steps up above one threshold of a sensor and down below another.
--
-- After each change the policy waits for a cooldown, so that the sensor can show what came of it. The
-- cooldown is about the policy's own changes only: failed workers are replaced during it, and limits hold.
-- Thresholds are strict: a value on one of them changes nothing.

local demand = require "lib.demand"
local pool = require "lib.pool"
local reading = require "lib.reading"
local show = require "lib.show"

return {
  doc = "Step up above one threshold of a sensor, and down below another.",

  params = demand.params(pool.over({
    sensor = { type = "sensor", required = true, aliases = { "metric" }, doc = "sensor to look at" },
    scale_up_threshold = { type = "number", required = true, doc = "grow while the sensor is above this" },
    scale_up_n = {
      type = "integer", min = 1, default = 1, unit = "workers", aliases = { "scale_up_n_vms" },
      doc = "how many workers one step up adds",
    },
    scale_down_threshold = { type = "number", required = true, doc = "shrink while the sensor is below this" },
    scale_down_n = {
      type = "integer", min = 1, default = 1, unit = "workers", aliases = { "scale_down_n_vms" },
      doc = "how many workers one step down takes away",
    },
    cooldown = {
      type = "duration", min = 0, max = 86400, default = "5m", aliases = { "cooldown_period" },
      doc = "no further step for this long after one",
    },
    starting_allowed = demand.starting_allowed,
    stabilisation = {
      type = "duration", min = 0, max = 86400, default = "0s",
      doc = "step down only when every evaluation within this time would have allowed it",
    },
  }, reading.params())),

  validate = function(conf)
    if conf.scale_down_threshold > conf.scale_up_threshold then
      error("scale_down_threshold (" .. show.number(conf.scale_down_threshold) .. ") is above scale_up_threshold ("
        .. show.number(conf.scale_up_threshold) .. ")", 0)
    end
    demand.validate(conf)
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local r = reading.sample(state, conf)
    if not r.ok then
      demand.hold(control, state, conf, r.text)
      return
    end
    local target, memory, what = state.target, state.memory, reading.shown(conf, r.value)
    local up, down = conf.scale_up_threshold, conf.scale_down_threshold
    local p = { n = target }
    local wait

    if r.value > up then
      p.n, p.text, p.rule = demand.more(state, conf.scale_up_n), what .. " above " .. show.number(up), "scale_up"
      wait = demand.wait(state, conf)
    elseif r.value < down then
      p.n, p.text, p.rule = math.min(target, math.max(target - conf.scale_down_n, conf.min_instances)), what .. " below " .. show.number(down), "scale_down"
      p.allows = conf.min_instances
    else
      p.text, p.rule = what .. " within " .. show.number(down) .. "-" .. show.number(up), "within"
    end

    local since = memory.stepped and state.now - memory.stepped
    if p.n ~= target and since and since >= 0 and since < conf.cooldown then
      wait = "the last step was " .. show.span(since) .. " ago (cooldown " .. show.span(conf.cooldown) .. ")"
    end
    if wait and p.n ~= target then
      p.n, p.text = target, p.text .. ", but " .. wait
    end
    local stepped = p.n ~= target
    local n = demand.settle(control, state, conf, p)
    if stepped and n ~= target then -- what was cut to no change starts no cooldown
      memory.stepped = state.now
    end
  end,
}
