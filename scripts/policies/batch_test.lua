-- Tests of batch.lua. Workers run and are well unless something else is said.

test.policy "batch"

local function jobs(n, more)
  local r = more or {}
  r["queue-length"] = { value = n }
  return r
end

test.case {
  name = "a worker for each queued job, those that start counted",
  steps = {
    { workers = {}, sensors = jobs(3), expect = { target = 3, because = "3 jobs queued for 0 workers that are free or starting: 3 more" } },
    { workers = { { count = 3, state = "PENDING" } }, expect = { target = 3, because = "3 jobs queued, 3 workers free or starting" } },
    { sensors = jobs(5), expect = { target = 5 } },
    { workers = { { count = 3, state = "PENDING" } }, expect = { target = 5 } },
  },
}

test.case {
  name = "a worker that has just come up waits for its first job, but not for ever",
  conf = { fresh_for = "1m" },
  steps = {
    { workers = { { id = "epu-test-1-1/0", state = "PENDING" } }, wish = 1, sensors = jobs(1), expect = { target = 1 } },
    { workers = { { id = "epu-test-1-1/0" } }, expect = { target = 1, because = "1 worker free or starting" } },
    { after = 50, expect = { target = 1 } },
    { after = 15, expect = { target = 2, because = "1 job queued for 0 workers" } },
  },
}

test.case {
  name = "a busy worker is not free",
  conf = {},
  steps = { { workers = { { busy_for = 60, count = 2 }, { idle_for = 10 } }, wish = 3, sensors = jobs(2), expect = { target = 4, actions = 0 } } },
}

test.case {
  name = "workers that were idle for long are drained, the longest idle first",
  conf = { idle_for = "5m", min_instances = 1 },
  steps = {
    { workers = { { busy_for = 60, count = 2 }, { idle_for = 301, count = 3 }, { idle_for = 299 } }, wish = 6, sensors = jobs(0),
      expect = { target = 3, actions = 1, because = "0 jobs queued, and 3 workers idle for 5m or longer" } },
  },
}

test.case {
  name = "what guard rails keep is not drained again and again",
  doc = "limits.min = 1 raises the wish for none: whoever were drained would be replaced at once, and the next one too.",
  conf = {},
  steps = {
    { workers = { { idle_for = 600, count = 2 } }, wish = 2, sensors = jobs(0), expect = { target = 0, actions = 1 } },
    { wish = 1, workers = { { idle_for = 600 } }, expect = { target = 0, actions = 0, because = "but guard rails keep 1" } },
    { wish = 1, after = 10, expect = { target = 0, actions = 0, because = "but guard rails keep 1" } },
    { wish = 1, after = 10, workers = { { state = "PENDING" } }, expect = { target = 1, actions = 0 } },
    { wish = 1, after = 90, workers = { { idle_for = 600 } }, expect = { target = 0, actions = 0, because = "but guard rails keep 1" } },
    { sensors = jobs(4), expect = { target = 4 } },
    { wish = 4, after = 900, workers = { { idle_for = 600, count = 4 } }, sensors = jobs(0), expect = { target = 0, actions = 1 } },
  },
}

test.case {
  name = "those that a queued job may want are kept",
  conf = {},
  steps = { { workers = { { idle_for = 600, count = 3 } }, wish = 3, sensors = jobs(2), expect = { target = 2, actions = 1 } } },
}

test.case {
  name = "a minimum is kept",
  conf = { min_instances = 2 },
  steps = { { workers = { { idle_for = 600, count = 3 } }, wish = 3, sensors = jobs(0), expect = { target = 2 } },
    { workers = { { idle_for = 600, count = 2 } }, expect = { target = 2, actions = 0 } } },
}

test.case {
  name = "a worker runs several jobs",
  conf = { jobs_per_worker = 4, max_instances = 2 },
  steps = { { workers = {}, sensors = jobs(5), expect = { target = 2 } }, { sensors = jobs(50), expect = { target = 2, because = "cut from 13 to max_instances 2" } } },
}

test.case {
  name = "without a reading nothing is launched or drained",
  conf = {},
  steps = { { workers = { { idle_for = 6000, count = 3 } }, wish = 3, sensors = { ["queue-length"] = { value = 0, quality = "stale" } },
    expect = { target = 3, actions = 0, because = "queue-length is stale" } } },
}

test.case {
  name = "a batch system may count its idle workers itself",
  conf = { idle_sensor = "idle", idle_for = "1m" },
  steps = {
    { workers = { { count = 4 } }, wish = 4, sensors = jobs(0, { idle = { value = 3 } }), expect = { target = 4 } },
    { after = 30, sensors = jobs(0, { idle = { value = 2 } }), expect = { target = 4 } },
    { after = 33, sensors = jobs(0, { idle = { value = 3 } }), expect = { target = 2, actions = 0, victims = "idle-longest", because = "2 workers idle for 1m" } },
  },
}

test.case {
  name = "no sight of the idle ones, no shrinking",
  conf = { idle_sensor = "idle", idle_for = "0s" },
  steps = { { workers = { { count = 4 } }, wish = 4, sensors = jobs(0), expect = { target = 4, because = "there is no reading of idle" } } },
}

test.case {
  name = "workers that start faster than the policy looks are counted too",
  steps = {
    { workers = {}, sensors = jobs(3), expect = { target = 3 } },
    { after = 10, workers = { { count = 3, age = 9 } }, expect = { target = 3, because = "3 jobs queued, 3 workers free or starting" } },
    { after = 10, workers = { { count = 3, age = 19 } }, expect = { target = 3 } },
    { after = 10, workers = { { count = 3, age = 29, busy_for = 60 } }, sensors = jobs(2), expect = { target = 5 } },
  },
}

test.case {
  name = "and once at least, however long the policy did not look",
  conf = { fresh_for = "1m" },
  steps = {
    { workers = {}, sensors = jobs(3), expect = { target = 3 } },
    { after = 600, workers = { { count = 3, age = 590 } }, expect = { target = 3 } },
    { after = 61, workers = { { count = 3, age = 651 } }, expect = { target = 6 } },
  },
}

test.case {
  name = "a worker that has been busy is not fresh again",
  steps = {
    { workers = {}, sensors = jobs(1), expect = { target = 1 } },
    { after = 10, workers = { { age = 9, busy_for = 5 } }, sensors = jobs(0), expect = { target = 1 } },
    { after = 10, workers = { { age = 19 } }, sensors = jobs(1), expect = { target = 2 } },
  },
}

test.case {
  name = "one reading launches once, also when its jobs run by now",
  steps = {
    { workers = { { count = 2, idle_for = 10 } }, wish = 2, sensors = jobs(3), expect = { target = 3 } },
    { after = 10, workers = { { count = 2, busy_for = 60 }, { age = 9, busy_for = 60 } }, sensors = { ["queue-length"] = { value = 3, age = 10 } },
      expect = { target = 3, because = "3 jobs queued at a reading for which there were 3 workers already" } },
    { after = 10, sensors = jobs(1), expect = { target = 4 } },
  },
}

test.case {
  name = "what the guard rails took off the wish is asked for again",
  steps = {
    { workers = {}, sensors = jobs(3), expect = { target = 3 } },
    { after = 10, wish = 2, workers = { { count = 2, age = 9, busy_for = 60 } }, sensors = { ["queue-length"] = { value = 3, age = 10 } }, expect = { target = 3 } },
  },
}

test.case {
  name = "a reading from before a launch counts jobs that the launched workers take",
  conf = { fresh_for = "0s" },
  steps = {
    { workers = {}, sensors = jobs(3), expect = { target = 3 } },
    { after = 10, workers = { { count = 2, age = 9, busy_for = 60 }, { age = 9 } }, sensors = { ["queue-length"] = { value = 4, age = 9.5 } }, expect = { target = 4 } },
  },
}

test.case {
  name = "protected workers never go, and the wish does not fall for them",
  steps = {
    { workers = { { count = 4, busy_for = 600 }, { idle_for = 600, protected = true } }, wish = 5, sensors = jobs(0), expect = { target = 5, actions = 0 } },
    { after = 10, expect = { target = 5, actions = 0 } },
    { after = 10, workers = { { count = 4, idle_for = 600 }, { idle_for = 900, protected = true } }, expect = { target = 1, actions = 1 } },
    { after = 10, workers = { { idle_for = 900, protected = true } }, expect = { target = 1, actions = 0 } },
  },
}

test.case {
  name = "nor for one that may be what the sensor counts",
  conf = { idle_sensor = "idle", idle_for = "0s" },
  steps = {
    { workers = { { count = 4 }, { protected = true } }, wish = 5, sensors = jobs(0, { idle = { value = 1 } }), expect = { target = 5 } },
    { sensors = jobs(0, { idle = { value = 3 } }), expect = { target = 3 } },
  },
}

test.case {
  name = "the wish falls once for workers that are not let go yet",
  steps = {
    { workers = { { count = 3, busy_for = 600 }, { count = 2, idle_for = 600 } }, wish = 5, sensors = jobs(0), expect = { target = 3, actions = 1 } },
    { after = 10, expect = { target = 3 } },
    { after = 10, sensors = jobs(1), expect = { target = 3 } },
  },
}

test.case {
  name = "what is still to be launched is dropped first when the jobs are gone",
  conf = { min_instances = 1 },
  steps = {
    { workers = {}, sensors = jobs(9), expect = { target = 9 } },
    { workers = { { count = 3, busy_for = 60 } }, sensors = jobs(2), expect = { target = 5, because = "2 jobs queued, so 4 workers still to be launched are not needed" } },
    { sensors = jobs(0), expect = { target = 3, actions = 0 } },
    { workers = { { count = 2, idle_for = 600 } }, expect = { target = 1, because = "so 1 worker still to be launched is not needed, and 1 worker idle for 5m or longer" } },
  },
}

test.case {
  name = "a sensor that counts the idle ones of a whole cluster counts no more than run here",
  conf = { idle_sensor = "idle", idle_for = "0s", jobs_per_worker = 3 },
  steps = {
    { workers = { { count = 3 } }, wish = 3, sensors = jobs(12, { idle = { value = 9 } }),
      expect = { target = 4, because = "12 jobs queued for 3 workers that are free or starting: 1 more; idle counts 9 idle, but only 3 run here" } },
    { after = 10, sensors = jobs(4, { idle = { value = 9 } }), expect = { target = 2, because = "idle counts 9 idle, but only 3 run here" } },
    { after = 10, workers = { { count = 2 } }, sensors = jobs(1, { idle = { value = 2 } }), expect = { target = 1 } },
    { after = 10, wish = 0, sensors = jobs(12, { idle = { value = 9 } }), expect = { target = 4 } },
  },
}

test.case {
  name = "a worker that has just come up is free once, also where a sensor counts it as idle",
  conf = { idle_sensor = "idle" },
  steps = { { workers = { { count = 3, age = 5 } }, wish = 3, sensors = jobs(6, { idle = { value = 3 } }), expect = { target = 6 } } },
}

test.case {
  name = "while jobs wait one worker is wanted at least, also when those beyond the target could take them",
  steps = {
    { workers = { { count = 3, idle_for = 10 } }, wish = 0, sensors = jobs(2), expect = { target = 1, because = "raised from 0 to 1, since there is work" } },
    { after = 10, workers = {}, sensors = { ["queue-length"] = { value = 2, age = 10 } }, expect = { target = 2 } },
  },
}
