-- Tests of finish_by.lua. Workers run and are well unless something else is said.

test.policy "finish_by"

local function work(left, due_in, more)
  local w = more or {}
  w.left, w.due_in = left, due_in
  return w
end

test.case {
  name = "with a guess of the rate it asks for the fewest that make it",
  conf = { max_instances = 50, rate_per_worker = 1, margin = 0, boot_time = "100s" },
  steps = {
    { workers = {}, work = work(9000, 1000), expect = { target = 10, because = "9000 left for 16m40s, a worker does 1 per second: 10 workers" } },
    { workers = { { count = 10, state = "PENDING", age = 50 } }, work = work(9000, 950), expect = { target = 10 } },
    { workers = { { count = 10 } }, work = work(9000, 900), expect = { target = 10 } },
    { workers = { { count = 10 } }, work = work(9001, 900), expect = { target = 11 } },
  },
}

test.case {
  name = "the margin is planned for",
  conf = { max_instances = 50, rate_per_worker = 1, margin = 0.5, boot_time = "0s" },
  steps = { { workers = {}, work = work(1000, 1000), expect = { target = 2 } } },
}

test.case {
  name = "without any rate one worker is launched to learn from",
  conf = { max_instances = 50 },
  steps = { { workers = {}, work = work(1000, 1000), expect = { target = 1, because = "not known yet how much a worker does" } } },
}

test.case {
  name = "the rate is learned, and one odd sample does not move it",
  conf = { max_instances = 50, margin = 0, boot_time = "0s", stabilisation = "0s" },
  steps = {
    { workers = { { count = 2 } }, work = work(10000, 4000), wish = 2, expect = { target = 2 } },
    { after = 60, work = work(9880, 3940), expect = { target = 3, because = "a worker does 1 per second" } },
    { after = 60, work = work(9760, 3880), expect = { target = 3 } },
    { after = 60, work = work(9640, 3820), expect = { target = 3 } },
    { after = 60, work = work(4000, 3760), expect = { target = 2, because = "a worker does 1 per second" } },
  },
}

test.case {
  name = "work that is added spoils no sample",
  conf = { max_instances = 50, margin = 0, boot_time = "0s" },
  steps = {
    { workers = { { count = 1 } }, work = work(1000, 4000), expect = { target = 1 } },
    { after = 60, work = work(5000, 4000), expect = { target = 1, because = "not known yet" } },
    { after = 60, work = work(4940, 4000), expect = { target = 2, because = "a worker does 1 per second" } },
  },
}

test.case {
  name = "coarse work: nothing done for a while is part of the next sample",
  conf = { max_instances = 50, margin = 0, boot_time = "0s" },
  steps = {
    { workers = { { count = 1 } }, work = work(10, 4000), expect = { target = 1 } },
    { after = 300, expect = { target = 1, because = "not known yet" } },
    { after = 300, work = work(9, 5400), expect = { target = 1, because = "a worker does 0.001667 per second: 1 worker" } },
  },
}

test.case {
  name = "a sensor of the rate is used at once",
  conf = { max_instances = 50, margin = 0, boot_time = "0s" },
  steps = { { workers = { { count = 4 } }, work = work(8000, 1000, { rate = 4 }), expect = { target = 8, because = "a worker does 1 per second" } } },
}

test.case {
  name = "it says when it cannot make it, and goes as fast as it may",
  conf = { max_instances = 20, rate_per_worker = 1, margin = 0, boot_time = "0s" },
  steps = {
    { workers = {}, work = work(5000, 100), expect = { target = 20, because = { "50 workers", "cut from 50 to max_instances 20" },
      alert = "can't be done by its deadline with at most 20 workers" } },
    { reconfigure = { late = "keep" }, wish = 5, expect = { target = 5, alert = "can't be done" } },
  },
}

test.case {
  name = "too late for new workers",
  conf = { max_instances = 20, rate_per_worker = 1, margin = 0, boot_time = "5m", late = "keep" },
  steps = { { workers = { { count = 2 } }, wish = 2, work = work(5000, 200), expect = { target = 2, because = "new ones would come too late", alert = "can't be done" } } },
}

test.case {
  name = "after the deadline",
  conf = { max_instances = 20, rate_per_worker = 1 },
  steps = {
    { workers = { { count = 2 } }, wish = 2, work = work(5000, -60), expect = { target = 20, because = "5000 left, and the deadline passed 1m ago" } },
    { reconfigure = { late = "keep" }, wish = 3, expect = { target = 3 } },
  },
}

test.case {
  name = "too late for the last bit of work is no reason for a crowd",
  doc = "Of many jobs the last long one ends after the deadline. Workers that come up then find nothing to do.",
  conf = { max_instances = 20, rate_per_worker = 1, margin = 0, boot_time = "5m", stabilisation = "0s" },
  steps = {
    { workers = { { count = 2 } }, wish = 2, work = work(500, 60), expect = { target = 2, because = "new ones would come too late", alert = "can't be done" } },
    { work = work(500, -60), expect = { target = 2, because = "the deadline passed 1m ago" } },
    { work = work(1600, -60), expect = { target = 6 } },
  },
}

test.case {
  name = "nobody is launched who could not finish a piece before the deadline",
  doc = "A new worker boots for 3 minutes and works 10 on a piece. Without job_length the last minutes would ask for a crowd.",
  conf = { max_instances = 50, rate_per_worker = 0.1, margin = 0, boot_time = "3m", job_length = "10m", late = "keep", stabilisation = "0s" },
  steps = {
    { workers = { { count = 2 } }, wish = 2, work = work(200.5, 780), expect = { target = 3, because = "200.5 left for 13m, a worker does 0.1 per second: 3 workers" } },
    { wish = 2, work = work(200.5, 779), expect = { target = 2, because = "too little for 2 running, and new ones would come too late", alert = "can't be done" } },
    { work = work(200.5, 181), expect = { target = 2, because = "new ones would come too late" } },
  },
}

test.case {
  name = "who starts counts with whole pieces only",
  conf = { max_instances = 50, rate_per_worker = 0.1, margin = 0, boot_time = "3m", job_length = "10m", stabilisation = "0s" },
  steps = {
    { workers = { { count = 1, state = "PENDING", age = 60 } }, wish = 1, work = work(60.5, 719 + 600), expect = { target = 2 } },
    { work = work(60.5, 720 + 600), expect = { target = 1 } },
  },
}

test.case {
  name = "whole numbers are pieces, and nobody is launched for whom none is left",
  conf = { max_instances = 50, rate_per_worker = 0.001, margin = 0.5, boot_time = "0s" },
  steps = {
    { workers = { { count = 1 } }, wish = 1, work = work(4, 1500), expect = { target = 4, because = "4 left for 25m, a worker does 0.001 per second: 4 workers" } },
    { workers = { { count = 4 } }, work = work(4, 999), expect = { target = 4, because = "4 left for 16m39s, and as many workers as pieces: more would find nothing to do" } },
    { work = work(5, 1), expect = { target = 5, because = "new ones would come too late", alert = "can't be done" } },
    { work = work(5, -1), expect = { target = 5, because = "the deadline passed 1s ago" } },
  },
}

test.case {
  name = "what has once been a broken number counts no pieces, even when it is whole",
  conf = { max_instances = 50, rate_per_worker = 0.001, margin = 0, boot_time = "0s", late = "keep", stabilisation = "0s" },
  steps = {
    { workers = { { count = 1 } }, wish = 1, work = work(4.5, 100), expect = { target = 45 } },
    { wish = 1, work = work(4, 100), restart = true, expect = { target = 40, because = "a worker does 0.001 per second: 40 workers" } },
    { wish = 1, reconfigure = { job_length = "1000s" }, work = work(4, 1000), expect = { target = 4 } },
    { wish = 1, work = work(4, 100), expect = { target = 1, because = "new ones would come too late", alert = "with at most 50 workers" } },
  },
}

test.case {
  name = "too late, as many as there are pieces are enough",
  conf = { max_instances = 50, rate_per_worker = 0.1, margin = 0, boot_time = "1m", job_length = "10m", stabilisation = "0s" },
  steps = {
    { workers = { { count = 1 } }, wish = 1, work = work(200.5, 60), expect = { target = 4, because = "new ones would come too late", alert = "can't be done" } },
    { work = work(3, -60), expect = { target = 1 } },
  },
}

test.case {
  name = "those that have just come up do not make workers seem slow",
  doc = "Each works ten minutes on a job. Nothing is done in the first ten minutes of those that were added.",
  conf = { max_instances = 50, margin = 0, boot_time = "0s", stabilisation = "0s", job_length = "10m" },
  steps = {
    { workers = { { count = 1 } }, wish = 1, work = work(61, 12600), expect = { target = 1, because = "not known yet" } },
    { after = 600, work = work(60, 12000), expect = { target = 3, because = "a worker does 0.001667 per second" } },
    { after = 30, workers = { { count = 3 } }, work = work(60, 11970), expect = { target = 4 } },
    { after = 570, work = work(59, 11400), expect = { target = 4, because = "a worker does 0.001667 per second: 4 workers" } },
    { after = 30, work = work(57, 11370), expect = { target = 4 } },
    { after = 570, work = work(56, 10800), expect = { target = 4 } },
  },
}

test.case {
  name = "when nothing is left the pool goes to its minimum, once that has lasted",
  conf = { max_instances = 20, rate_per_worker = 1, min_instances = 1, stabilisation = "1m" },
  steps = {
    { workers = { { count = 4 } }, wish = 4, work = work(0, 1000), expect = { target = 4, because = "no work is left" } },
    { after = 30, expect = { target = 4 } },
    { after = 30, expect = { target = 4 } },
    { expect = { target = 1 } },
  },
}

for quality in pairs { stale = 1, unknown = 1, warming = 1 } do
  test.case {
    name = "what is left is " .. quality .. ": nothing changes",
    conf = { max_instances = 20, rate_per_worker = 1, stabilisation = "0s" },
    steps = { { workers = { { count = 4 } }, wish = 4, work = work(0, 1000, { quality = quality }), expect = { target = 4, because = "how much work is left is " .. quality } } },
  }
end

test.case {
  name = "no work section and no deadline change nothing",
  conf = { max_instances = 20 },
  steps = {
    { workers = { { count = 4 } }, wish = 4, expect = { target = 4, because = "the pool's file has no work section" } },
    { work = work(100), expect = { target = 4, because = "100 left, but there is no deadline" } },
  },
}

test.case { name = "a maximum is needed", conf = {}, refused = "max_instances: is required" }
test.case { name = "a rate of 0 is refused", conf = { max_instances = 1, rate_per_worker = 0 }, refused = "rate_per_worker is 0: leave it out" }

test.case {
  name = "too late, it says how many it takes for the rest, and within what time",
  conf = { max_instances = 9, rate_per_worker = 0.05, margin = 0, boot_time = "2s", job_length = "20s", stabilisation = "0s" },
  steps = {
    { workers = { { count = 1 } }, wish = 1, work = work(3, -60), expect = { target = 3, because = "3 left, and the deadline passed 1m ago: 3 workers, as many as pieces" } },
    { reconfigure = { boot_time = "1m" }, work = work(7, -60), expect = { target = 3, because = "1m ago: 3 workers, which do the rest within the boot_time of 1m" } },
    { reconfigure = { job_length = "70s" }, work = work(8, -60), expect = { target = 3, because = "3 workers, which do the rest within the job_length of 1m10s" } },
    { work = work(900, -60), expect = { target = 9, because = "1m ago: 9 workers, the max_instances" } },
    { reconfigure = { late = "keep" }, wish = 2, expect = { target = 2, because = "1m ago: 9 workers, the max_instances, but late is keep: 2" } },
  },
}

test.case {
  name = "too late, and nothing says what is soon",
  conf = { max_instances = 9, rate_per_worker = 0.05, margin = 0, boot_time = "0s", stabilisation = "0s" },
  steps = { { workers = { { count = 1 } }, wish = 1, work = work(2.5, -60), expect = { target = 9, because = "9 workers, the max_instances" } } },
}
