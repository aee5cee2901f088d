-- queuelen: as many workers as keep a queue between two marks.
--
-- Above the high water mark the pool takes a step up, below the low water mark a step down, between them
-- nothing changes; the marks themselves belong to the quiet middle. While there is work on the queue at
-- least one worker stays, whatever else is configured (but never more than max_instances).
--
-- A step up waits for the last one: workers that still start can't have shortened the queue yet. A step
-- down waits until the queue has been low for a whole window, and then for the last step, so that the queue
-- can show what came of it. A reading that can't be trusted changes nothing.

local demand = require "lib.demand"
local reading = require "lib.reading"
local show = require "lib.show"

local patience = 60 -- seconds between steps down at most, unless something else is said

return {
  doc = "Keep a queue between two marks: grow above the high one, shrink below the low one.",

  params = demand.step_params {
    queuelen_high_water = {
      type = "number", min = 0, required = true, unit = "messages",
      doc = "grow while the queue is longer than this",
    },
    queuelen_low_water = {
      type = "number", min = 0, required = true, unit = "messages",
      doc = "shrink while the queue is shorter than this; 0 never shrinks",
    },
    sensor = { type = "sensor", default = "queue-length", doc = "sensor that gives the length of the queue" },
    step_down_every = {
      type = "duration", min = 0, max = 86400,
      doc = "time between two steps down; without it as long as stabilisation, but at most 1m",
    },
    outgrow = {
      type = "number", min = 0, default = 0, unit = "messages",
      doc = "step up although workers still start once the queue is this much longer than at the last step; 0 always waits",
    },
  },

  validate = function(conf)
    if conf.queuelen_low_water > conf.queuelen_high_water then
      error("queuelen_low_water (" .. show.number(conf.queuelen_low_water) .. ") is above queuelen_high_water ("
        .. show.number(conf.queuelen_high_water) .. ")", 0)
    end
    demand.validate(conf)
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local r = reading.of(state, conf.sensor, 0)
    if not r.ok then
      demand.hold(control, state, conf, r.text)
      return
    end
    local queue = r.value
    local target, memory = state.target, state.memory
    local floor = queue > 0 and 1 or 0
    local what = (conf.sensor == "queue-length" and "queue" or conf.sensor) .. " " .. show.number(queue)
    local high, low = conf.queuelen_high_water, conf.queuelen_low_water

    if queue > high then
      local text = what .. " above high water " .. show.number(high)
      local n, wait = demand.more(state, conf.step_up), demand.wait(state, conf)
      if wait and conf.outgrow > 0 and memory.stepped_at and queue >= memory.stepped_at + conf.outgrow then
        text = text .. " and " .. show.number(queue - memory.stepped_at) .. " longer than at the last step, although " .. wait
        wait = nil
      end
      if wait then
        n = target
        text = text .. ", but " .. wait
      else
        memory.stepped_at = queue
      end
      demand.settle(control, state, conf, { n = n, floor = floor, text = text, rule = "high_water" })
    elseif queue > 0 and target == 0 then
      demand.settle(control, state, conf, { n = 1, floor = 1, text = what .. ": while there is work, 1 worker stays", rule = "work" })
    elseif queue < low then
      local n = math.max(target - conf.step_down, floor, conf.min_instances)
      local text = what .. " below low water " .. show.number(low)
      local since = memory.shrunk and state.now - memory.shrunk
      local every = conf.step_down_every or math.min(conf.stabilisation, patience)
      if n < target and since and since >= 0 and since < every then
        n, text = target, text .. ", but the last step down was " .. show.span(since) .. " ago"
      elseif n >= target then
        text = text .. (floor > conf.min_instances and ", and the last worker stays while there is work" or ", and min_instances is reached")
      end
      n = demand.settle(control, state, conf, { n = math.min(n, target), allows = floor, floor = floor, text = text, rule = "low_water" })
      if n < target then
        memory.shrunk = state.now
      end
    else
      demand.settle(control, state, conf, {
        n = target, floor = floor, text = what .. " within " .. show.number(low) .. "-" .. show.number(high), rule = "within",
      })
    end
  end,
}
