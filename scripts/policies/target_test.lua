-- Tests of target.lua. Workers run and are well unless something else is said.

test.policy "target"

local function conf(more)
  local c = { sensor = "load", target = 50, stabilisation = "0s" }
  for k, v in pairs(more or {}) do
    c[k] = v
  end
  return c
end

local function total(more)
  local c = conf { mode = "total", min_instances = 0 }
  for k, v in pairs(more or {}) do
    c[k] = v
  end
  return c
end

local function load(value, quality)
  return { load = { value = value, quality = quality } }
end

test.case {
  name = "an average is shared by the workers that run",
  conf = conf {},
  steps = {
    { workers = { { count = 4 } }, wish = 4, sensors = load(80), expect = { target = 7, because = "load 80 per worker, target 50: 7 workers wanted" } },
    { workers = { { count = 4 }, { count = 3, state = "PENDING" } }, sensors = load(80), expect = { target = 7 } },
    { sensors = load(120), expect = { target = 7, because = "10 workers wanted, but 3 workers are still starting" } },
    { workers = { { count = 7 } }, sensors = load(46), expect = { target = 7, because = "within 10% of the target 50" } },
    { sensors = load(20), expect = { target = 3, because = "3 workers wanted" } },
  },
}

test.case {
  name = "an average over more workers than are wanted says what they all need",
  doc = "They may be protected, or busy, or those of another rule in combine: taking them for the target's would shrink too far.",
  conf = conf {},
  steps = {
    { workers = { { count = 10 } }, wish = 2, sensors = load(20), expect = { target = 4, because = "4 workers wanted" } },
    { workers = { { count = 10 } }, wish = 2, sensors = load(50), expect = { target = 10, because = "within 10%" } },
    { workers = { { count = 10 } }, wish = 2, sensors = load(80), expect = { target = 16 } },
  },
}

test.case {
  name = "quotients that should be whole are",
  conf = conf { target = 0.1, tolerance = 0 },
  steps = { { workers = { { count = 3 } }, wish = 3, sensors = load(0.2), expect = { target = 6 } } },
}

test.case {
  name = "a total is shared by as many workers as it needs, at once",
  conf = total { target = 10 },
  steps = {
    { workers = {}, sensors = load(0), expect = { target = 0 } },
    { sensors = load(1), expect = { target = 1, because = "load 1, target 10: 1 worker wanted" } },
    { workers = { { state = "PENDING" } }, sensors = load(412), expect = { target = 42 } },
    { sensors = load(440), expect = { target = 42, because = "within 10%" } },
    { sensors = load(0), expect = { target = 0 } },
  },
}

test.case {
  name = "what is left of a total keeps a worker",
  conf = total { target = 50 },
  steps = { { workers = { {} }, wish = 1, sensors = load(1), expect = { target = 1 } } },
}

test.case {
  name = "steps bound how fast it moves",
  conf = total { target = 1, step_up = 5, step_down = 2 },
  steps = {
    { workers = {}, sensors = load(12), expect = { target = 5 } },
    { expect = { target = 10 } },
    { expect = { target = 12 } },
    { sensors = load(3), expect = { target = 10 } },
  },
}

test.case {
  name = "it shrinks to the most that was wanted within the window",
  conf = total { target = 1, stabilisation = "1m" },
  steps = {
    { workers = {}, sensors = load(10), expect = { target = 10 } },
    { after = 30, sensors = load(8), expect = { target = 10 } },
    { after = 20, sensors = load(2), expect = { target = 10, because = "kept at 10 and not shrunk to 2" } },
    { after = 15, expect = { target = 8, because = "kept at 8 and not shrunk to 2" } },
    { after = 30, expect = { target = 2 } },
  },
}

test.case {
  name = "without a running worker there is no average",
  conf = conf { min_instances = 2 },
  steps = {
    { workers = {}, sensors = load(900), expect = { target = 2, because = { "no worker runs", "raised from 0 to min_instances 2" } } },
    { workers = { { count = 2, draining = true }, { state = "PENDING" } }, expect = { target = 2, because = "no worker runs" } },
  },
}

for quality, why in pairs { stale = "load is stale", unknown = "load is unknown", warming = "load is warming up" } do
  test.case {
    name = "a reading that is " .. quality .. " changes nothing",
    conf = total {},
    steps = { { workers = { { count = 4 } }, wish = 4, sensors = load(0, quality), expect = { target = 4, because = { why, "the wish stays 4" } } } },
  }
end

test.case {
  name = "a negative reading is a fault of the source",
  conf = total {},
  steps = { { workers = { { count = 4 } }, wish = 4, sensors = load(-5), expect = { target = 4, because = "load is -5, which can't be" } } },
}

test.case { name = "a target of 0 is refused", conf = conf { target = 0 }, refused = "target is 0, but must be above it" }
test.case { name = "an average needs a worker", conf = conf { min_instances = 0 }, refused = "min_instances must be at least 1 in per-worker mode" }
