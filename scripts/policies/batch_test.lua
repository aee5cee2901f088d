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
