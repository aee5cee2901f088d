-- Tests of needy.lua. Workers run and are well unless something else is said.

test.policy "needy"

test.case {
  name = "the number comes from outside",
  conf = { preserve_n = 2 },
  steps = {
    { workers = {}, expect = { target = 2, uniques = {}, because = "preserve_n = 2" } },
    { reconfigure = { preserve_n = "5" }, expect = { target = 5 } },
    { reconfigure = { domain_desired_size = 1 }, expect = { target = 1 } },
  },
}

test.case {
  name = "of too many, those that can be done without go first",
  conf = { preserve_n = 3, retirable = { "epu-test-1-2/0", "epu-test-1-9/0" } },
  steps = {
    { workers = { { id = "epu-test-1-1/0" }, { id = "epu-test-1-2/0" }, { id = "epu-test-1-3/0" } }, expect = { target = 3, actions = 0 } },
    { reconfigure = { preserve_n = 1 }, expect = { target = 1, actions = 1, because = "1 retirable worker first of 2 too many" } },
    { workers = { { id = "epu-test-1-1/0" }, { id = "epu-test-1-2/0", draining = true } }, expect = { target = 1, actions = 0 } },
  },
}

test.case {
  name = "what guard rails keep is not drained, whoever is named",
  doc = "limits.min = 2: each one that were drained would be replaced.",
  conf = { preserve_n = 1, retirable = { "epu-test-1-1/0", "epu-test-1-2/0", "epu-test-1-3/0" } },
  steps = {
    { workers = { { id = "epu-test-1-1/0" }, { id = "epu-test-1-2/0" }, { id = "epu-test-1-3/0" } }, wish = 3, expect = { target = 1, actions = 1 } },
    { workers = { { id = "epu-test-1-3/0" }, { id = "epu-test-1-4/0" } }, wish = 2, expect = { target = 1, actions = 0 } },
    { workers = { { id = "epu-test-1-3/0" }, { id = "epu-test-1-4/0" }, { id = "epu-test-1-5/0" } }, wish = 2, expect = { target = 1, actions = 1, because = "1 retirable worker first of 1 too many" } },
  },
}

test.case {
  name = "a protected worker does not go, another that can be done without does",
  conf = { preserve_n = 2, retirable = { "epu-test-1-1/0", "epu-test-1-2/0" } },
  steps = {
    { workers = { { id = "epu-test-1-1/0", protected = true }, { id = "epu-test-1-2/0" }, { id = "epu-test-1-3/0" } }, wish = 3,
      expect = { target = 2, actions = 1, because = "1 retirable worker first of 1 too many" } },
    { workers = { { id = "epu-test-1-1/0", protected = true }, { id = "epu-test-1-3/0" }, { id = "epu-test-1-4/0" } }, wish = 3, expect = { target = 2, actions = 0 } },
  },
}

test.case {
  name = "each worker has a value of its own",
  conf = { preserve_n = 2, unique_key = "SEAT", unique_values = { "a", "b", "c" }, vars = { X = "1" } },
  steps = {
    { workers = {}, expect = { target = 2, uniques = { a = { SEAT = "a", X = "1" }, b = { SEAT = "b", X = "1" } } } },
    { workers = { { name = "a" }, { name = "b", health = "MISSING" } }, expect = { uniques = { a = true, b = true } } },
    { reconfigure = { preserve_n = 3 }, expect = { target = 3, uniques = { a = true, b = true, c = true } } },
    { reconfigure = { preserve_n = 1 }, workers = { { name = "a" }, { name = "b" }, { name = "c" } }, expect = { target = 1, uniques = { a = true } } },
  },
}

test.case {
  name = "values of workers that can be done without go first",
  conf = { preserve_n = 2, unique_key = "SEAT", unique_values = { "a", "b", "c" }, retirable = { "epu-test-1-1/0" } },
  steps = {
    { workers = { { id = "epu-test-1-1/0", name = "a" }, { name = "c" }, { name = "b" } }, expect = { target = 2, uniques = { b = true, c = true } } },
    { reconfigure = { preserve_n = 3 }, expect = { target = 3, uniques = { a = true, b = true, c = true } } },
  },
}

test.case {
  name = "a gap is filled with the first value that is free",
  conf = { preserve_n = 2, unique_key = "SEAT", unique_values = { "a", "b", "c" } },
  steps = { { workers = { { name = "c" } }, expect = { uniques = { a = true, c = true } } } },
}

test.case {
  name = "there are never more workers than values",
  conf = { preserve_n = 5, unique_key = "SEAT", unique_values = { "a", "b" } },
  expect = { target = 2, uniques = { a = true, b = true }, alert = "preserve_n is 5, but unique_values has only 2 values" },
}

test.case {
  name = "a change of something else keeps the values",
  doc = "In the original any change that left out the keys switched them off.",
  conf = { preserve_n = 1, unique_key = "SEAT", unique_values = { "a", "b" } },
  steps = { { workers = {}, expect = { uniques = { a = true } } }, { reconfigure = { preserve_n = 2 }, expect = { uniques = { a = true, b = true } } } },
}

test.case { name = "a key without values is refused", conf = { unique_key = "SEAT" }, refused = "unique_key and unique_values belong together" }
test.case { name = "values without a key are refused", conf = { unique_values = { "a" } }, refused = "belong together" }
test.case { name = "a value twice is refused", conf = { unique_key = "S", unique_values = { "a", "b", "a" } }, refused = "unique_values has 'a' twice" }
