package reference

// Examples are whole policies that show a group of functions, by the group. Tests try each.
func Examples() map[string]string {
	return map[string]string{"control": controlExample, "state": stateExample, "cron": cronExample, "text": textExample}
}

const controlExample = `return {
  doc = "Keep n workers, most of them in the cheaper site, and a named one for the broker.",
  params = {
    n = { type = "integer", min = 2, default = 6, unit = "workers", doc = "workers in all" },
  },
  decide = function(control, state, conf)
    control.want("broker", { market = "on-demand", vars = { ROLE = "broker" } })
    control.place("east", math.floor(conf.n * 2 / 3))
    control.scale_to(conf.n, { market = "spot", victims = "most-expensive", urgency = "low" })
    control.because("n = " .. conf.n .. ", two thirds of them in east", "n")
    for _, refusal in ipairs(state.refused()) do
      control.alert("refused: " .. refusal.text)
    end
  end,
}
`

const stateExample = `return {
  doc = "As many workers as the queue of the last minutes needs; hold while it can't be read.",
  params = {
    queue = { type = "sensor", default = "queue", doc = "the queue's length" },
    each = { type = "number", min = 1, default = 10, unit = "messages", doc = "what one worker can have waiting" },
  },
  decide = function(control, state, conf)
    local now, recent = state.sensor(conf.queue), state.window(conf.queue, 300)
    if not now or now.quality ~= "ok" or not recent then
      control.scale_to(state.target)
      control.because("no good reading of " .. conf.queue .. ", so nothing changes", "hold")
      return
    end
    control.scale_to(math.ceil(math.max(now.value, recent.mean) / conf.each), { victims = "idle-longest" })
    control.because(now.value .. " wait now, " .. recent.mean .. " on average over 5 minutes", "queue")
    for worker in state.workers{ stage = "running", market = "spot" } do
      if worker.price and worker.price > 1 and not worker.busy_until then
        control.drain(worker, { reason = "too dear" })
      end
    end
  end,
}
`

const cronExample = `return {
  doc = "More workers in office hours.",
  params = {
    opens = { type = "string", default = "0 8 * * MON-FRI", doc = "when the office opens, as a line of a crontab" },
    closes = { type = "string", default = "0 18 * * *", doc = "when it closes" },
    zone = { type = "string", default = "Europe/Berlin", doc = "time zone of both" },
  },
  validate = function(conf)
    cron.check(conf.opens, conf.zone)
    cron.check(conf.closes, conf.zone)
  end,
  decide = function(control, state, conf)
    local opened, closed = cron.prev(conf.opens, conf.zone) or 0, cron.prev(conf.closes, conf.zone) or 0
    control.scale_to(opened > closed and 8 or 1)
    control.because(opened > closed and "the office is open" or "the office is closed", "hours")
  end,
}
`

const textExample = `return {
  doc = "One worker for each host that a text names.",
  params = {
    hosts = { type = "string", default = "a.example, b.example", doc = "hosts, with commas between them" },
  },
  decide = function(control, state, conf)
    for _, host in ipairs(text.split(conf.hosts, "\\s*,\\s*")) do
      if text.match(host, "^[a-z0-9.-]+$") then
        control.want(host, { vars = { HOST = host } })
      end
    end
    control.because("hosts = " .. conf.hosts, "hosts")
  end,
}
`
