-- Tests of combine.lua. Workers run and are well unless something else is said.

test.policy "combine"

local queue = { policy = "queuelen", conf = { queuelen_high_water = 100, queuelen_low_water = 10, stabilisation = "0s" } }
local load = { policy = "target", conf = { sensor = "load", target = 10, mode = "total", min_instances = 0, stabilisation = "0s" } }
local base = { policy = "npreserving", conf = { preserve_n = 2 } }

local function read(q, l)
  return { ["queue-length"] = { value = q }, load = { value = l } }
end

test.case {
  name = "the largest answer wins and says who gave it",
  conf = { rules = { queue, load, base } },
  steps = {
    { workers = {}, sensors = read(0, 0), expect = { target = 2, because = { "rule 3 (npreserving) wants 2: preserve_n = 2", "rule 1 (queuelen) wants 0: queue 0" } } },
    { workers = { { count = 2 } }, sensors = read(0, 45), expect = { target = 5, because = "rule 2 (target) wants 5: load 45, target 10" } },
    { workers = { { count = 5 } }, sensors = read(500, 45), expect = { target = 6, because = "rule 1 (queuelen) wants 6: queue 500 above high water 100" } },
  },
}

test.case {
  name = "nothing shrinks unless all agree",
  conf = { rules = { queue, load } },
  steps = {
    { workers = { { count = 8 } }, wish = 8, sensors = read(50, 80), expect = { target = 8 } },
    { sensors = read(50, 0), expect = { target = 8, because = "rule 1 (queuelen) wants 8: queue 50 within" } },
    { sensors = read(0, 0), expect = { target = 7 } },
    { workers = { { count = 7 } }, sensors = read(0, 71), expect = { target = 8 } },
  },
}

test.case {
  name = "a rule that can't see keeps the pool from shrinking, not from growing",
  conf = { rules = { queue, load, base } },
  steps = {
    { workers = { { count = 8 } }, wish = 8, sensors = read(0, 80), expect = { target = 8 } },
    { sensors = { load = { value = 0 } }, expect = { target = 8, because = "not shrunk from 8 to 7: rule 1 (queuelen) can't see" } },
    { sensors = { load = { value = 0 } }, expect = { target = 8 } },
    { sensors = { load = { value = 120 } }, expect = { target = 12 } },
  },
}

test.case {
  name = "a rule is quoted with the reason that moved its number",
  conf = { rules = { { policy = "target", conf = { sensor = "load", target = 10, mode = "total", min_instances = 1 } } } },
  steps = { { workers = {}, wish = 0, sensors = read(0, 0), expect = { target = 1, because = "rule 1 (target) wants 1: raised from 0 to min_instances 1" } } },
}

test.case {
  name = "a blind rule that its minimum raises says both",
  conf = { rules = { { policy = "queuelen", conf = { queuelen_high_water = 1, queuelen_low_water = 0, min_instances = 3 } }, load } },
  steps = {
    { workers = {}, sensors = { load = { value = 10 } }, expect = { target = 3,
      because = "rule 1 (queuelen) wants 3: there is no reading of queue-length; raised from 0 to min_instances 3" } },
    { sensors = { load = { value = 50 } }, expect = { target = 5, because = "rule 1 (queuelen) wants 3: there is no reading of queue-length, so the wish stays 3" } },
  },
}

test.case {
  name = "what limits decide is not put down to a blind rule",
  conf = { rules = { queue, base }, min_instances = 4, max_instances = 6 },
  steps = {
    { workers = { { count = 3 } }, wish = 3, sensors = read(0, 0), expect = { target = 4 } },
    { wish = 3, sensors = { load = { value = 0 } }, expect = { target = 4, because = "raised from 2 to min_instances 4" } },
    { wish = 9, sensors = { load = { value = 0 } }, expect = { target = 6, because = "cut from 9 to max_instances 6" } },
  },
}

test.case {
  name = "a rule in steps goes on from what serves, and down from what it wanted itself",
  conf = { rules = { queue, load } },
  steps = {
    { workers = {}, wish = 0, sensors = read(500, 0), expect = { target = 1 } },
    { workers = { { count = 1 } }, sensors = read(50, 80), expect = { target = 8, because = "rule 1 (queuelen) wants 1: queue 50 within" } },
    { workers = { { count = 8 } }, sensors = read(500, 80), expect = { target = 9, because = "rule 1 (queuelen) wants 9: queue 500 above" } },
    { workers = { { count = 9 } }, sensors = read(5, 80), expect = { target = 8, because = "rule 1 (queuelen) wants 8: queue 5 below" } },
  },
}

test.case {
  name = "what limits refuse a rule, it need not come down from",
  conf = { max_instances = 3, rules = { { policy = "queuelen", conf = { queuelen_high_water = 100, queuelen_low_water = 10, step_up = 20, stabilisation = "0s" } } } },
  steps = {
    { workers = { { count = 1 } }, wish = 1, sensors = read(500, 0), expect = { target = 3, because = "cut from 21 to max_instances 3" } },
    { workers = { { count = 3 } }, sensors = read(500, 0), expect = { target = 3 } },
    { sensors = read(5, 0), expect = { target = 2, because = "rule 1 (queuelen) wants 2" } },
  },
}

test.case {
  name = "limits of the whole come last",
  conf = { rules = { load, base }, max_instances = 3, min_instances = 1, site = "east", victims = "oldest" },
  steps = { { workers = {}, sensors = read(0, 900), expect = { target = 3, site = "east", victims = "oldest", because = "cut from 90 to max_instances 3" } } },
}

test.case {
  name = "rules have windows of their own, which a restart does not clear",
  conf = { rules = { { policy = "target", conf = { sensor = "load", target = 10, mode = "total", min_instances = 0, stabilisation = "1m" } } } },
  steps = {
    { workers = {}, sensors = read(0, 40), expect = { target = 4 } },
    { after = 30, sensors = read(0, 10), expect = { target = 4, because = "wants 4: load 10" } },
    { after = 20, restart = true, expect = { target = 4 } },
    { after = 20, expect = { target = 1 } },
  },
}

for text, rules in pairs {
  ["rules[0].policy: must be one of batch, "] = { { policy = "nope" } },
  ["rules[1].conf.queuelen_high_water: is required"] = { base, { policy = "queuelen", conf = { queuelen_low_water = 1 } } },
  ["rules[0].conf: queuelen_low_water (5) is above queuelen_high_water (1)"] = { { policy = "queuelen", conf = { queuelen_low_water = 5, queuelen_high_water = 1 } } },
  ["rules[0].conf.preserve_n: must be a whole number, got \"x\""] = { { policy = "npreserving", conf = { preserve_n = "x" } } },
  ["rules[0].conf.preserve_n: must be at least 0, got -1"] = { { policy = "npreserving", conf = { preserve_n = -1 } } },
  ["rules[0].conf.preserv_n: is no parameter; there are allocation, "] = { { policy = "npreserving", conf = { preserv_n = 1 } } },
  ["rules[0].conf.stabilisation: must be a duration such as 90s or 5m, got 5"] =
    { { policy = "queuelen", conf = { queuelen_low_water = 0, queuelen_high_water = 1, stabilisation = 5 } } },
  ["rules[0].conf.stabilisation: must be at most 24h"] =
    { { policy = "queuelen", conf = { queuelen_low_water = 0, queuelen_high_water = 1, stabilisation = "24h1m" } } },
  ["rules[0].conf.heal: must be true or false, got \"no\""] = { { policy = "npreserving", conf = { heal = "no" } } },
  ["rules[0].conf.victims: must be one of newest, "] = { { policy = "npreserving", conf = { victims = "all" } } },
  ["rules[0].confs: is no key of a rule"] = { { policy = "npreserving", confs = {} } },
} do
  test.case { name = "refused: " .. text, conf = { rules = rules }, refused = text }
end
