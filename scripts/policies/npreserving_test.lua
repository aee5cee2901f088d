-- Tests of npreserving.lua. Workers run and are well unless something else is said.

test.policy "npreserving"

test.case {
  name = "nothing configured",
  doc = "A pool without configuration keeps nothing until it is told to, and ends what it has.",
  conf = {},
  workers = { { count = 2 } },
  expect = { target = 0, uniques = {}, heal = true, victims = "newest", because = "preserve_n = 0" },
}

test.case {
  name = "shortfall and surplus are the same wish",
  doc = "The policy says how many, whatever there is: launching and ending is the host's matter.",
  conf = { preserve_n = 4 },
  steps = {
    { workers = {}, expect = { target = 4, because = "preserve_n = 4" } },
    { workers = { { count = 4, state = "PENDING" } }, expect = { target = 4 } },
    { workers = { { count = 9 } }, expect = { target = 4, actions = 0 } },
  },
}

test.case {
  name = "unhealthy workers are to be replaced",
  conf = { preserve_n = 3 },
  workers = { { count = 2 }, { health = "MISSING" } },
  expect = { target = 3, heal = true, because = { "preserve_n = 3", "1 unhealthy worker to replace" } },
}

test.case {
  name = "development mode leaves failures alone",
  conf = { preserve_n = 3, heal = false },
  workers = { { count = 2 }, { state = "RUNNING_FAILED" } },
  expect = { target = 3, heal = false, because = "heal = false" },
}

test.case {
  name = "a launch plan of the Python EPU works as it is",
  doc = "Old key names and values that are all texts are taken.",
  conf = {
    preserve_n = "3",
    unique_instances = { head = { role = "head" } },
    provisioner_vars = { exchange_scope = "me", broker_port = "5672" },
    force_site = "ec2-east",
    epuworker_type = "epu_work_consumer",
    epuworker_allocation = "small",
    devmode_no_failure_compensation = "True",
  },
  expect = {
    target = 3,
    uniques = { head = { exchange_scope = "me", broker_port = "5672", role = "head" } },
    vars = { exchange_scope = "me", broker_port = "5672" },
    site = "ec2-east",
    allocation = "small",
    heal = false,
  },
}

test.case {
  name = "any other value of the old development switch means off",
  conf = { devmode_no_failure_compensation = "perhaps" },
  expect = { heal = true },
}

test.case {
  name = "names come and go, values wait",
  doc = "A removed name is no longer wished for, even if a new one has equal variables. Changed values "
    .. "under the same name are wished for at once and count when that worker is replaced.",
  conf = { preserve_n = 3, unique = { db = { ROLE = "db" }, web = { ROLE = "web" } } },
  steps = {
    { expect = { target = 3, uniques = { db = { ROLE = "db" }, web = { ROLE = "web" } }, because = "preserve_n = 3, of which 2 unique" } },
    { reconfigure = { unique = { db2 = { ROLE = "db" }, web = { ROLE = "www" } } },
      expect = { target = 3, uniques = { db2 = { ROLE = "db" }, web = { ROLE = "www" } } } },
    { reconfigure = { unique = {} }, expect = { target = 3, uniques = {} } },
  },
}

test.case {
  name = "after a restart the wish is the same",
  doc = "Nothing is kept between decisions, so unique workers are adopted by their names.",
  conf = { preserve_n = 2, unique = { db = {} } },
  steps = {
    { expect = { target = 2, uniques = { db = {} } } },
    { restart = true, workers = { { name = "db" }, {} }, expect = { target = 2, uniques = { db = {} }, because = "1 unique" } },
  },
}

test.case {
  name = "reconfigure replaces whole values and keeps the rest",
  conf = { preserve_n = 2, vars = { A = "1", B = "2" }, site = "east" },
  steps = {
    { expect = { target = 2, vars = { A = "1", B = "2" }, site = "east" } },
    { reconfigure = { vars = { C = "3" } }, expect = { target = 2, vars = { C = "3" }, site = "east" } },
    { reconfigure = { preserve_n = 5 }, expect = { target = 5, vars = { C = "3" }, site = "east" } },
  },
}

test.case {
  name = "a change that is refused changes nothing",
  conf = { preserve_n = 1, unique = { a = {} } },
  steps = {
    { expect = { target = 1, uniques = { a = true } } },
    { reconfigure = { unique = { a = {}, b = {} } },
      reconfigure_refused = "2 unique workers, but preserve_n is only 1",
      expect = { target = 1, uniques = { a = true } } },
    { reconfigure = { preserve_n = 0 }, reconfigure_refused = "1 unique worker, but preserve_n is only 0",
      expect = { target = 1, uniques = { a = true } } },
    { reconfigure = { preserve_n = 2, unique = { a = {}, b = {} } }, expect = { target = 2, uniques = { a = true, b = true } } },
  },
}

for text, value in pairs {
  ["must be a whole number, got \"asd\""] = "asd",
  ["must be at least 0 (workers), got -1"] = -1,
  ["must be a whole number, got 1.5"] = 1.5,
} do
  test.case { name = "preserve_n " .. value .. " is refused", conf = { preserve_n = value }, refused = text }
end

test.case {
  name = "more names than workers are refused",
  conf = { unique = { a = {}, b = {} }, preserve_n = 1 },
  refused = "2 unique workers, but preserve_n is only 1: raise preserve_n or remove names from unique",
}

test.case {
  name = "a misspelt key is refused with a suggestion",
  conf = { preserv_n = 1 },
  refused = "did you mean 'preserve_n'?",
}
