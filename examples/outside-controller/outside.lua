--- outside: as many workers as a program outside says, and a safe number while the program is silent.
---
--- The program sets preserve_n by reconfigure when its answer changes, and pushes a reading to a sensor with each round,
--- which shows that it lives. A setting never grows old, a reading does: when it is stale, the last preserve_n is no more
--- than what somebody once wanted.
return {
  doc = "Keep as many workers as a program outside says; hold on to a safe number while it is silent.",
  params = {
    preserve_n = { type = "integer", min = 0, default = 0, unit = "workers", doc = "what the program wants; it sets this" },
    safe_n = { type = "integer", min = 0, default = 1, unit = "workers", doc = "at least this many while the program is silent" },
    heard = { type = "sensor", default = "outside", doc = "sensor to which the program pushes with each round" },
  },
  decide = function(control, state, conf)
    local sign = state.sensor(conf.heard)
    if sign and sign.quality == "ok" then
      control.because("the program wants " .. conf.preserve_n, "preserve_n")
      control.scale_to(conf.preserve_n)
      return
    end
    -- Nobody looks after the number now, so it does not fall.
    control.because("nothing is heard of the program, so at least " .. conf.safe_n .. " stay", "silent")
    control.scale_to(math.max(conf.safe_n, state.target))
    control.alert("the program that sets preserve_n is silent")
  end,
}
