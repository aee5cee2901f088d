-- Tests of schedule.lua. The clock starts at 2026-01-01 00:00 UTC, a Thursday, unless a case says otherwise.

test.policy "schedule"

local hour = 3600
local office = {
  { cron = "0 8 * * MON-FRI", count = 20, name = "day" },
  { cron = "0 18 * * MON-FRI", count = 2, name = "night" },
}

test.case {
  name = "the line that fired last is in force, over the weekend too",
  conf = { lines = office },
  steps = {
    { after = 7 * hour, expect = { target = 2, because = "'night: 0 18 * * MON-FRI' fired 13h ago: 2" } },
    { after = hour, expect = { target = 20, because = "'day: 0 8 * * MON-FRI' fired 0s ago: 20" } },
    { after = 9 * hour + 3599, expect = { target = 20 } },
    { after = 1, expect = { target = 2 } },
    { after = 62 * hour, expect = { target = 2, because = "fired 38h ago" } },
    { after = 24 * hour, expect = { target = 20 } },
    { after = 6 * hour, expect = { target = 20, because = "fired 6h ago" } },
  },
}

test.case {
  name = "outside every line the default counts",
  conf = { lines = { { cron = "0 8 * * *", count = 9, ["for"] = "2h" } }, default = 1 },
  steps = {
    { after = 7 * hour, expect = { target = 1, because = "no line is in force: default = 1" } },
    { after = hour, expect = { target = 9 } },
    { after = 2 * hour - 1, expect = { target = 9 } },
    { after = 1, expect = { target = 1 } },
  },
}

test.case {
  name = "after an exception the line before it is in force again",
  conf = { lines = { { cron = "0 6 * * *", count = 5 }, { cron = "0 12 * * *", count = 30, ["for"] = "1h" } } },
  steps = {
    { after = 11 * hour, expect = { target = 5 } },
    { after = hour, expect = { target = 30 } },
    { after = hour, expect = { target = 5 } },
  },
}

test.case {
  name = "of lines that fire together the last in the list counts",
  conf = { lines = { { cron = "0 8 * * *", count = 5 }, { cron = "0 8 * * THU", count = 7 } } },
  steps = { { after = 8 * hour, expect = { target = 7 } }, { after = 24 * hour, expect = { target = 5 } } },
}

test.case {
  name = "a line that can never fire is refused",
  conf = { lines = { { cron = "0 8 * * *", count = 2 }, { cron = "0 0 30 2 *", count = 5 } }, default = 3 },
  refused = "lines[1].cron: '0 0 30 2 *': no year has such a day",
}

for _, told in ipairs { "lines[0].cron: ", "lines[1].count: ", "lines[2].zone: ", "lines[3].evry: ", "zone: no time zone 'Europe/Berln'" } do
  test.case {
    name = "all that is wrong is told, also " .. told,
    conf = { zone = "Europe/Berln", lines = {
      { cron = "0 8 * *", count = 1 }, { cron = "0 8 * * *" }, { cron = "0 8 * * *", count = 1, zone = "Mars" },
      { cron = "0 8 * * *", count = 1, evry = 2 },
    } },
    refused = told,
  }
end

test.case {
  name = "a zone's own clock counts, and every line may have another",
  conf = { zone = "Europe/Berlin", lines = { { cron = "0 8 * * *", count = 8 }, { cron = "0 8 * * *", count = 3, zone = "America/New_York" } } },
  steps = {
    { after = 7 * hour - 1, expect = { target = 3 } },
    { after = 1, expect = { target = 8, because = "Europe/Berlin" } },
    { after = 6 * hour - 1, expect = { target = 8 } },
    { after = 1, expect = { target = 3, because = "America/New_York" } },
  },
}

test.case {
  name = "clocks go forward: eight is eight, and a time that does not exist fires at the change",
  start = "2026-03-29T00:00:00Z",
  conf = { zone = "Europe/Berlin", lines = { { cron = "30 2 * * *", count = 4 }, { cron = "0 8 * * *", count = 8 } } },
  steps = {
    { after = 3599, expect = { target = 8 } },
    { after = 1, expect = { target = 4, because = "fired 0s ago" } },
    { after = 5 * hour - 1, expect = { target = 4 } },
    { after = 1, expect = { target = 8 } },
  },
}

test.case {
  name = "clocks go back: a time that exists twice fires once, and ten hours are ten hours",
  start = "2026-10-24T22:00:00Z",
  conf = { zone = "Europe/Berlin", lines = { { cron = "0 0 * * *", count = 9, ["for"] = "10h" }, { cron = "30 2 * * *", count = 2, ["for"] = "30m" } } },
  steps = {
    { after = 2.5 * hour, expect = { target = 2 } },
    { after = hour, expect = { target = 9 } },
    { after = 6.5 * hour - 1, expect = { target = 9 } },
    { after = 1, expect = { target = 0 } },
  },
}

test.case {
  name = "it grows ahead of a line, and does not shrink ahead of one",
  conf = { lines = office, ahead = "10m" },
  steps = {
    { after = 7 * hour + 50 * 60 - 1, expect = { target = 2 } },
    { after = 1, expect = { target = 20, because = { "'night", "'day: 0 8 * * MON-FRI' will want 20 within 10m" } } },
    { after = 10 * 60, expect = { target = 20 } },
    { after = 10 * hour - 1, expect = { target = 20 } },
    { after = 1, expect = { target = 2 } },
  },
}

test.case {
  name = "it grows ahead of a line that is shorter than the time ahead, until that line is over",
  conf = { lines = { { cron = "0 8 * * *", count = 9, ["for"] = "10m" } }, default = 1, ahead = "30m" },
  steps = {
    { after = 7.5 * hour - 1, expect = { target = 1 } },
    { after = 1, expect = { target = 9 } },
    { after = 15 * 60, expect = { target = 9 } },
    { after = 25 * 60 - 1, expect = { target = 9 } },
    { after = 1, expect = { target = 1 } },
  },
}

test.case {
  name = "a smaller line within the time ahead does not hide a larger one",
  conf = { lines = { { cron = "0 8 * * *", count = 9 }, { cron = "20 8 * * *", count = 2 } }, ahead = "30m" },
  steps = {
    { after = 7.5 * hour, expect = { target = 9 } },
    { after = 25 * 60, expect = { target = 9 } },
    { after = 25 * 60, expect = { target = 2 } },
  },
}

test.case {
  name = "it grows ahead of the end of an exception, and of one within another",
  conf = {
    lines = {
      { cron = "0 6 * * *", count = 5 },
      { cron = "0 7 * * *", count = 1, ["for"] = "2h" },
      { cron = "50 8 * * *", count = 2, ["for"] = "5m" },
    },
    ahead = "15m",
  },
  steps = {
    { after = 8 * hour, expect = { target = 1 } },
    { after = 45 * 60 - 1, expect = { target = 2 } },
    { after = 8 * 60, expect = { target = 5 } },
  },
}

test.case {
  name = "workers that fail are replaced at any hour",
  conf = { lines = office },
  workers = { { count = 1 }, { health = "MISSING" } },
  expect = { target = 2, heal = true },
}

for want, line in pairs {
  ["lines[0].cron: 'every day': a cron line has five fields"] = { cron = "every day", count = 1 },
  ["lines[0].cron: '0 25 * * *': "] = { cron = "0 25 * * *", count = 1 },
  ["lines[0].zone: no time zone 'Europe/Atlantis'"] = { cron = "0 5 * * *", count = 1, zone = "Europe/Atlantis" },
  ["lines[0].count: is required"] = { cron = "0 5 * * *" },
  ["lines[0].count: must be at least 0, got -1"] = { cron = "0 5 * * *", count = -1 },
  ["lines[0].for: must be a duration such as 90s or 5m, got 10"] = { cron = "0 5 * * *", count = 1, ["for"] = 10 },
  ["lines[0].until: is no parameter; there are count, cron, for, name, zone"] = { cron = "0 5 * * *", count = 1, ["until"] = "18:00" },
} do
  test.case { name = "refused: " .. want, conf = { lines = { line } }, refused = want }
end
