-- Readings that can be trusted, and what to say of those that can't.
--
-- A reading that is old, unknown, of a source that has just started, or missing says nothing about how
-- much work there is. Policies then hold: they never shrink a pool because they are blind.

local show = require "lib.show"

local reading = {}

---@class lib.Reading
---@field ok boolean whether the value can be trusted
---@field value number? only when ok
---@field time number? unix seconds at which it was taken
---@field text string why it can't be trusted; empty when ok

-- The newest reading of a sensor. A value below `least` (default: any number is good) is a fault of the
-- source: a queue is never shorter than 0.
---@param state epu.State
---@param sensor string
---@param least number?
---@return lib.Reading
function reading.of(state, sensor, least)
  local r = state.sensor(sensor)
  if r == nil then
    return { ok = false, text = "there is no reading of " .. sensor }
  end
  if r.quality == "stale" then
    return { ok = false, text = sensor .. " is stale: its last reading is " .. show.span(r.age) .. " old" }
  end
  if r.quality == "warming" then
    return { ok = false, text = sensor .. " is warming up: its source has just started" }
  end
  if r.quality ~= "ok" or r.value == nil then
    return { ok = false, text = sensor .. " is unknown" }
  end
  if least ~= nil and r.value < least then
    return { ok = false, text = sensor .. " is " .. show.number(r.value) .. ", which can't be" }
  end
  return { ok = true, value = r.value, time = r.time, text = "" }
end

-- Parameters of policies that look at a sensor over a span of time.
function reading.params()
  return {
    window = {
      type = "duration", min = 0, max = 86400, default = "0s",
      doc = "look at the readings of this time; 0s looks at the newest one only",
    },
    statistic = {
      type = "enum", values = { "mean", "max", "min", "last", "Average", "Maximum", "Minimum" }, default = "mean",
      aliases = { "sample_function" },
      doc = "what to take of the window; the capitalised words are the old ones",
    },
  }
end

local statistics = { Average = "mean", Maximum = "max", Minimum = "min" }

-- The sensor of a policy over its window. A window counts only when at least half of it is covered and
-- nothing in it is unknown.
---@param state epu.State
---@param conf table with sensor, window, statistic
---@return lib.Reading
function reading.sample(state, conf)
  if conf.window == 0 then
    return reading.of(state, conf.sensor)
  end
  local newest = reading.of(state, conf.sensor)
  if not newest.ok then
    return newest
  end
  local w = state.window(conf.sensor, conf.window)
  local statistic = statistics[conf.statistic] or conf.statistic
  if w == nil or w.quality ~= "ok" or w[statistic] == nil then
    return { ok = false, text = conf.sensor .. " is not known throughout the last " .. show.span(conf.window) }
  end
  if w.covers < conf.window / 2 then
    return { ok = false, text = conf.sensor .. " is known for only " .. show.span(w.covers) .. " of the last " .. show.span(conf.window) }
  end
  return { ok = true, value = w[statistic], time = newest.time, text = "" }
end

-- "load 0.9", or "mean load 0.9 over 5m"
function reading.shown(conf, value)
  if conf.window == 0 then
    return conf.sensor .. " " .. show.number(value)
  end
  return (statistics[conf.statistic] or conf.statistic) .. " " .. conf.sensor .. " " .. show.number(value) .. " over " .. show.span(conf.window)
end

return reading
