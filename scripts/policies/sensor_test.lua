-- Tests of sensor.lua. Workers run and are well unless something else is said.

test.policy "sensor"

local function conf(more)
  local c = { sensor = "load", scale_up_threshold = 0.8, scale_down_threshold = 0.3, scale_up_n = 2, cooldown = "1m" }
  for k, v in pairs(more or {}) do
    c[k] = v
  end
  return c
end

local function load(value, quality)
  return { load = { value = value, quality = quality } }
end

test.case {
  name = "above one threshold it steps up, below the other down, on them it stays",
  conf = conf { cooldown = "0s" },
  steps = {
    { workers = { { count = 4 } }, wish = 4, sensors = load(0.8), expect = { target = 4, because = "load 0.8 within 0.3-0.8" } },
    { sensors = load(0.3), expect = { target = 4 } },
    { sensors = load(0.81), expect = { target = 6, because = "load 0.81 above 0.8" } },
    { workers = { { count = 6 } }, sensors = load(0.29), expect = { target = 5, because = "load 0.29 below 0.3" } },
  },
}

test.case {
  name = "after a step it waits for the cooldown, both ways",
  conf = conf {},
  steps = {
    { workers = { { count = 4 } }, wish = 4, sensors = load(0.9), expect = { target = 6 } },
    { after = 30, workers = { { count = 6 } }, expect = { target = 6, because = "the last step was 30s ago (cooldown 1m)" } },
    { after = 15, sensors = load(0.1), expect = { target = 6, because = "the last step was 45s ago" } },
    { after = 15, expect = { target = 5 } },
  },
}

test.case {
  name = "the cooldown delays no replacement and no limit",
  doc = "The original replaced nothing during its cooldown.",
  conf = conf {},
  steps = {
    { workers = { { count = 4 } }, wish = 4, sensors = load(0.9), expect = { target = 6 } },
    { workers = { { count = 5 }, { health = "MISSING" } }, expect = { target = 6, heal = true } },
    { reconfigure = { max_instances = 3 }, expect = { target = 3, because = "cut from 6 to max_instances 3" } },
  },
}

test.case {
  name = "a step that a limit swallows starts no cooldown",
  conf = conf { max_instances = 4, min_instances = 4 },
  steps = {
    { workers = { { count = 4 } }, wish = 4, sensors = load(0.9), expect = { target = 4, because = "cut from 6 to max_instances 4" } },
    { reconfigure = { max_instances = 10 }, expect = { target = 6 } },
  },
}

test.case {
  name = "a step up waits for the workers of the last one",
  conf = conf { cooldown = "0s" },
  steps = {
    { workers = { { count = 4 }, { count = 2, state = "PENDING" } }, wish = 6, sensors = load(0.9), expect = { target = 6, because = "2 workers are still starting" } },
    { reconfigure = { starting_allowed = 2 }, expect = { target = 8 } },
  },
}

test.case {
  name = "a window is looked at as a whole, when enough of it is known",
  conf = conf { cooldown = "0s", window = "5m", statistic = "max" },
  steps = {
    { workers = { { count = 4 } }, wish = 4, sensors = load(0.5), windows = { load = { mean = 0.5, max = 0.9, min = 0.1 } },
      expect = { target = 6, because = "max load 0.9 over 5m above 0.8" } },
    { workers = { { count = 6 } }, reconfigure = { statistic = "Minimum" }, expect = { target = 5, because = "min load 0.1 over 5m" } },
    { reconfigure = { statistic = "mean" }, expect = { target = 5, because = "mean load 0.5 over 5m within" } },
    { windows = { load = { mean = 0.9, covers = 149 } }, expect = { target = 5, because = "load is known for only 2m29s of the last 5m" } },
    { windows = { load = { mean = 0.9, quality = "stale" } }, expect = { target = 5, because = "not known throughout the last 5m" } },
    { windows = { load = { mean = 0.9, quality = "unknown" } }, expect = { target = 5, because = "not known throughout the last 5m" } },
    { windows = { load = { mean = 0.9 } }, sensors = load(0.9, "stale"), expect = { target = 5, because = "load is stale" } },
  },
}

for quality, why in pairs { stale = "load is stale", unknown = "load is unknown", warming = "load is warming up" } do
  test.case {
    name = "a reading that is " .. quality .. " changes nothing",
    conf = conf { cooldown = "0s" },
    workers = { { count = 4 } },
    steps = { { wish = 4, sensors = load(0.1, quality), expect = { target = 4, because = { why, "the wish stays 4" } } } },
  }
end

test.case {
  name = "the keys of the older program work",
  conf = {
    metric = "load", sample_function = "Average", cooldown_period = "2m", scale_up_threshold = "1.5", scale_up_n_vms = "3",
    scale_down_threshold = "0.5", scale_down_n_vms = 1, minimum_vms = 1, maximum_vms = 5, deployable_type = "dt", iaas_site = "east",
    iaas_allocation = "small",
  },
  workers = { { count = 3 } },
  wish = 3,
  sensors = load(2),
  expect = { target = 5, site = "east", allocation = "small", because = "cut from 6 to max_instances 5" },
}

test.case { name = "down above up is refused", conf = conf { scale_down_threshold = 0.9 },
  refused = "scale_down_threshold (0.9) is above scale_up_threshold (0.8)" }
test.case { name = "a cooldown without a unit is refused", conf = conf { cooldown = 60 },
  refused = "must be a duration with a unit, such as 60s" }
