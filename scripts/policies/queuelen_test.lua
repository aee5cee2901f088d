-- Tests of queuelen.lua. Workers run and are well unless something else is said.

test.policy "queuelen"

local marks = { queuelen_high_water = 100, queuelen_low_water = 10 }

local function conf(more)
  local c = {}
  for k, v in pairs(marks) do
    c[k] = v
  end
  for k, v in pairs(more or {}) do
    c[k] = v
  end
  return c
end

local function queue(value, more)
  local r = more or {}
  r.value = value
  return { ["queue-length"] = r }
end

test.case {
  name = "grows one at a time, only when the last one runs, up to the maximum",
  conf = conf { max_instances = 3 },
  steps = {
    { workers = {}, sensors = queue(0), expect = { target = 0, because = "queue 0 below low water 10" } },
    { sensors = queue(150), expect = { target = 1, because = "queue 150 above high water 100" } },
    { workers = { { state = "PENDING" } }, expect = { target = 1, because = "but 1 worker is still starting" } },
    { workers = { {} }, expect = { target = 2 } },
    { workers = { {} }, expect = { target = 2, because = "1 worker is still to be launched" } },
    { workers = { { count = 2 } }, expect = { target = 3 } },
    { workers = { { count = 3 } }, expect = { target = 3, because = "cut from 4 to max_instances 3" } },
  },
}

test.case {
  name = "the marks themselves change nothing",
  conf = conf { stabilisation = "0s" },
  workers = { { count = 4 } },
  steps = {
    { wish = 4, sensors = queue(100), expect = { target = 4, because = "queue 100 within 10-100" } },
    { sensors = queue(10), expect = { target = 4, because = "queue 10 within 10-100" } },
    { sensors = queue(9), expect = { target = 3, because = "queue 9 below low water 10" } },
  },
}

test.case {
  name = "while there is work the last worker stays",
  doc = "The original ended the last worker below low water and launched one in the next cycle, for ever.",
  conf = conf { stabilisation = "0s" },
  steps = {
    { workers = {}, sensors = queue(5), expect = { target = 1, because = "while there is work, 1 worker stays" } },
    { workers = { {} }, expect = { target = 1, because = "the last worker stays while there is work" } },
    { expect = { target = 1 } },
    { sensors = queue(0), expect = { target = 0 } },
    { workers = {}, expect = { target = 0 } },
  },
}

test.case {
  name = "max_instances wins over the last worker",
  conf = conf { max_instances = 0 },
  workers = {},
  sensors = queue(5),
  expect = { target = 0, because = "cut from 1 to max_instances 0" },
}

test.case {
  name = "shrinks only when the whole window would have allowed it, then step by step",
  conf = conf { stabilisation = "1m", step_down = 2, min_instances = 1, step_down_every = "5s" },
  workers = { { count = 6 } },
  steps = {
    { wish = 6, sensors = queue(50), expect = { target = 6 } },
    { after = 30, sensors = queue(3), expect = { target = 6, because = "kept at 6 and not shrunk to 4: within the last 1m" } },
    { after = 20, expect = { target = 6 } },
    { after = 20, expect = { target = 4 } },
    { expect = { target = 2 } },
    { expect = { target = 1 } },
    { expect = { target = 1, because = "min_instances is reached" } },
  },
}

test.case {
  name = "a step down waits for the last one, as long as the window but at most a minute",
  conf = conf { stabilisation = "5m", step_down = 2 },
  workers = { { count = 9 } },
  steps = {
    { wish = 9, sensors = queue(50), expect = { target = 9 } },
    { after = 10, sensors = queue(3), expect = { target = 9 } },
    { after = 100, expect = { target = 9 } },
    { after = 100, expect = { target = 9 } },
    { after = 110, expect = { target = 7 } },
    { after = 30, expect = { target = 7, because = "queue 3 below low water 10, but the last step down was 30s ago" } },
    { after = 30, expect = { target = 5 } },
    { after = 30, workers = { { count = 5 } }, sensors = queue(500), expect = { target = 6 } },
    { after = 60, sensors = queue(3), expect = { target = 6, because = "not shrunk to 4" } },
  },
}

test.case {
  name = "with a window of 0s every evaluation may shrink",
  conf = conf { stabilisation = "0s" },
  workers = { { count = 3 } },
  steps = {
    { wish = 3, sensors = queue(0), expect = { target = 2 } },
    { expect = { target = 1 } },
    { expect = { target = 0 } },
  },
}

test.case {
  name = "one busy moment restarts the window",
  conf = conf { stabilisation = "1m" },
  workers = { { count = 6 } },
  steps = {
    { wish = 6, sensors = queue(3), expect = { target = 6 } },
    { after = 30, expect = { target = 6 } },
    { after = 25, sensors = queue(40), expect = { target = 6, because = "within" } },
    { after = 25, sensors = queue(3), expect = { target = 6 } },
    { after = 25, expect = { target = 6 } },
    { after = 25, expect = { target = 5 } },
  },
}

test.case {
  name = "a new policy knows nothing of the past",
  doc = "Neither does one that was not asked for a while, because the node was down.",
  conf = conf { stabilisation = "5m" },
  workers = { { count = 6 } },
  steps = {
    { wish = 6, sensors = queue(0), expect = { target = 6 } },
    { after = 20, expect = { target = 6 } },
    { after = 3600, restart = true, expect = { target = 6, because = "kept at 6" } },
  },
}

for quality, why in pairs {
  stale = "queue-length is stale: its last reading is 1m35s old",
  unknown = "queue-length is unknown",
  warming = "queue-length is warming up",
} do
  test.case {
    name = "a reading that is " .. quality .. " changes nothing",
    conf = conf { stabilisation = "0s" },
    workers = { { count = 4 } },
    steps = {
      { wish = 4, sensors = queue(0, { quality = quality, age = 95 }), expect = { target = 4, because = { why, ", so the wish stays 4" } } },
      { sensors = queue(900, { quality = quality }), expect = { target = 4 } },
    },
  }
end

test.case {
  name = "no reading at all keeps what there is, within the limits",
  conf = conf { min_instances = 2 },
  workers = {},
  expect = { target = 2, because = { "there is no reading of queue-length", "raised from 0 to min_instances 2" } },
}

test.case {
  name = "blind time counts against shrinking",
  conf = conf { stabilisation = "1m" },
  workers = { { count = 4 } },
  steps = {
    { wish = 4, sensors = queue(0), expect = { target = 4 } },
    { after = 50, sensors = queue(0, { quality = "unknown" }), expect = { target = 4 } },
    { after = 15, sensors = queue(0), expect = { target = 4 } },
    { after = 50, expect = { target = 3 } },
  },
}

test.case {
  name = "a queue of negative length is a fault of the source",
  conf = conf { stabilisation = "0s" },
  workers = { { count = 4 } },
  wish = 4,
  sensors = queue(-1),
  expect = { target = 4, because = "queue-length is -1, which can't be" },
}

test.case {
  name = "a queue that outgrows the workers that start is not kept waiting, if so configured",
  conf = conf { outgrow = 500, step_up = 5 },
  workers = { { state = "PENDING", count = 5 } },
  steps = {
    { workers = {}, sensors = queue(200), expect = { target = 5 } },
    { workers = { { state = "PENDING", count = 5 } }, sensors = queue(600), expect = { target = 5, because = "5 workers are still starting" } },
    { sensors = queue(700), expect = { target = 10, because = "500 longer than at the last step" } },
    { workers = { { state = "PENDING", count = 10 } }, sensors = queue(800), expect = { target = 10 } },
  },
}

test.case {
  name = "a large pool need not wait for every replacement",
  conf = conf { starting_allowed = 3, step_up = 20 },
  workers = { { count = 98 }, { count = 2, state = "PENDING" } },
  steps = {
    { wish = 100, sensors = queue(101), expect = { target = 120 } },
    { workers = { { count = 98 }, { count = 22, state = "PENDING" } }, expect = { target = 120, because = "22 workers are still starting" } },
  },
}

test.case {
  name = "workers that drain are no supply",
  conf = conf {},
  workers = { { count = 2 }, { count = 3, draining = true } },
  wish = 2,
  sensors = queue(101),
  expect = { target = 3 },
}

test.case {
  name = "a failed worker neither stops growth for ever nor lowers the target",
  conf = conf {},
  steps = {
    { wish = 3, workers = { { count = 2 } }, sensors = queue(50), expect = { target = 3 } },
    { workers = { { count = 2 }, { health = "MISSING" } }, sensors = queue(101), expect = { target = 4, heal = true } },
  },
}

test.case {
  name = "a launch plan of the Python EPU works as it is",
  conf = {
    queuelen_high_water = "25", queuelen_low_water = "5", min_instances = "2", force_site = "ec2-east",
    epuworker_type = "epu_work_consumer", epuworker_allocation = "small", provisioner_vars = { a = "b" },
  },
  workers = {},
  sensors = queue(0),
  expect = { target = 2, site = "ec2-east", allocation = "small", vars = { a = "b" }, because = "raised from 0 to min_instances 2" },
}

test.case {
  name = "another sensor is called by its name",
  conf = conf { sensor = "backlog" },
  workers = { {} },
  wish = 1,
  sensors = { backlog = { value = 412 } },
  expect = { target = 2, because = "backlog 412 above high water 100" },
}

test.case { name = "low above high is refused", conf = { queuelen_high_water = 5, queuelen_low_water = 9 },
  refused = "queuelen_low_water (9) is above queuelen_high_water (5)" }
test.case { name = "min above max is refused", conf = conf { min_instances = 4, max_instances = 3 },
  refused = "min_instances (4) is above max_instances (3)" }
test.case { name = "both marks are needed", conf = { queuelen_low_water = 9 }, refused = "queuelen_high_water: is required" }
test.case { name = "a negative minimum is refused", conf = conf { min_instances = -1 }, refused = "must be at least 0 (workers), got -1" }
