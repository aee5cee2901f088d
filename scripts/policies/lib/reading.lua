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

return reading
