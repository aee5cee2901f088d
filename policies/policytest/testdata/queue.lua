-- A small queue policy for the tests of the scenario runner.
return {
  doc = "Grow by one above the high water mark, shrink by one below the low one.",
  params = {
    queuelen_high_water = { type = "number", required = true },
    queuelen_low_water = { type = "number", required = true },
    min_instances = { type = "integer", default = 0 },
    max_instances = { type = "integer", default = 1000 },
  },
  validate = function(conf)
    if conf.queuelen_low_water > conf.queuelen_high_water then
      error("queuelen_low_water (" .. conf.queuelen_low_water .. ") is above queuelen_high_water (" .. conf.queuelen_high_water .. ")", 0)
    end
  end,
  decide = function(control, state, conf)
    local q = state.sensor "queue-length"
    if not q or q.quality ~= "ok" then
      control.because("the queue's length is " .. (q and q.quality or "not measured"))
      control.scale_to(state.target)
      return
    end
    if q.value < 0 then
      error("a queue of " .. q.value)
    end
    local n, text = state.target, "queue " .. q.value .. " between the marks"
    if q.value > conf.queuelen_high_water then
      if state.starting() > 0 then
        text = "queue " .. q.value .. ", but workers are still starting"
      else
        n, text = n + 1, "queue " .. q.value .. " above " .. conf.queuelen_high_water
      end
    elseif q.value < conf.queuelen_low_water and n > math.max(conf.min_instances, q.value > 0 and 1 or 0) then
      n, text = n - 1, "queue " .. q.value .. " below " .. conf.queuelen_low_water
    elseif q.value > conf.queuelen_high_water then
      n = n + 1
    end
    if n > conf.max_instances then
      text = "cut from " .. n .. " to max_instances " .. conf.max_instances
      n = conf.max_instances
    end
    control.scale_to(n)
    control.because { rule = "queue", text = text }
  end,
}
