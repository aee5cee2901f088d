-- schedule: a number of workers by the clock.
--
-- Each line is a line of a crontab with a number and perhaps a duration. The line that fired last is in
-- force, until another fires or its duration is over; then the one that fired before it and is still in
-- force, or else the default. Of lines that fire together the last one in the list counts.
--
-- Lines are read in a time zone of the IANA database. On the day on which clocks go forward, a time that
-- does not exist fires at the change; on the day on which they go back, a time that exists twice fires once.
-- Durations are time that passes, so ten hours are ten hours on those days too.

local conf = require "lib.conf"
local pool = require "lib.pool"
local show = require "lib.show"

local line_params = {
  cron = { type = "string", required = true, doc = "minute hour day-of-month month day-of-week" },
  count = { type = "integer", min = 0, required = true, doc = "workers while the line is in force" },
  ["for"] = { type = "duration", min = 1, doc = "how long it is in force; until another line fires without it" },
  zone = { type = "string", doc = "time zone of this line" },
  name = { type = "string", doc = "what to call it" },
}

-- The lines with their numbers, durations in seconds, zones and names.
local function lines(given)
  local all = {}
  for i, map in ipairs(given.lines) do
    local line = conf.fill(line_params, map, "line " .. i)
    line.zone = line.zone or given.zone
    line.text = (line.name and line.name .. ": " or "") .. line.cron .. (line.zone ~= "UTC" and " " .. line.zone or "")
    all[i] = line
  end
  return all
end

-- When each line fired last, by its place in the list; false if never.
local function last_fired(all, at)
  local fired = {}
  for i, line in ipairs(all) do
    fired[i] = cron.prev(line.cron, line.zone, at) or false
  end
  return fired
end

-- The line in force at a time, and since when; nil when none is.
local function in_force(all, fired, at)
  local best, since
  for i, line in ipairs(all) do
    local over = not fired[i] or line["for"] and at - fired[i] >= line["for"]
    if not over and (since == nil or fired[i] >= since) then
      best, since = line, fired[i]
    end
  end
  return best, since
end

-- How much is looked at within the time ahead, since a line for every minute makes many changes: lines times changes,
-- and firings.
local looks, firings = 6000, 300

-- The most that is wanted at some moment from a time until one ahead of it, and by which line, nil for the default.
-- It goes from change to change, a line that fires or the end of the one in force, until no line could want more.
local function most_within(all, given, at, fired)
  local most, best, due, last, largest = -1, nil, {}, at + given.ahead, given.default
  for i, each in ipairs(all) do
    due[i] = cron.next(each.cron, each.zone, at) or math.huge
    largest = math.max(largest, each.count)
  end
  local seen = 0
  for _ = 1, looks / #all do
    local line, since = in_force(all, fired, at)
    local count = line and line.count or given.default
    if count > most then
      most, best = count, line
    end
    at = line and line["for"] and since + line["for"] or math.huge
    for _, fires in ipairs(due) do
      at = math.min(at, fires)
    end
    if at > last or most == largest or seen > firings then
      break
    end
    for i, each in ipairs(all) do
      if due[i] == at then
        fired[i], due[i], seen = at, cron.next(each.cron, each.zone, at) or math.huge, seen + 1
      end
    end
  end
  return most, best
end

-- Fails with what is wrong with a line of a crontab or a zone.
local function sound(line, zone)
  local ok, problem = pcall(cron.check, line, zone)
  if not ok then
    error(text.gsub(tostring(problem), [[^.*cron\.check: ]], ""), 0)
  end
end

return {
  doc = "Keep a number of workers by the clock: lines of a crontab, in any time zone.",

  params = pool.params {
    lines = {
      type = "list", of = "map", min = 1, max = 100, required = true,
      doc = "the lines, each {cron: \"0 8 * * MON-FRI\", count: N} and perhaps for: 10h, zone: Europe/Berlin, name: day",
      example = { { cron = "0 8 * * MON-FRI", count = 9, ["for"] = "10h", zone = "Europe/Berlin", name = "day" } },
    },
    zone = { type = "string", default = "UTC", doc = "time zone of lines that name none" },
    default = { type = "integer", min = 0, default = 0, unit = "workers", doc = "how many workers while no line is in force" },
    ahead = {
      type = "duration", min = 0, max = 86400, default = "0s",
      doc = "grow this much earlier, so that workers are up when they are needed; it never shrinks earlier",
    },
  },

  validate = function(given)
    local found = {}
    conf.try(found, { "zone" }, sound, "0 0 * * *", given.zone)
    for i, map in ipairs(given.lines) do
      local line = conf.check(line_params, map, { "lines", i }, found)
      if line.cron then
        conf.try(found, { "lines", i, "cron" }, sound, line.cron)
      end
      if line.zone then
        conf.try(found, { "lines", i, "zone" }, sound, "0 0 * * *", line.zone)
      end
    end
    return found
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, given)
    local all = lines(given)
    local fired = last_fired(all, state.now)
    local line, since = in_force(all, fired, state.now)
    local n = line and line.count or given.default
    if line then
      control.because("'" .. line.text .. "' fired " .. show.span(state.now - since) .. " ago: " .. n, "schedule")
    else
      control.because("no line is in force: default = " .. n, "default")
    end
    if given.ahead > 0 then
      local later, soon = most_within(all, given, state.now, fired)
      if later > n then
        n = later
        control.because((soon and "'" .. soon.text .. "'" or "the default") .. " will want " .. later .. " within "
          .. show.span(given.ahead), "ahead")
      end
    end
    control.scale_to(pool.within(control, n), pool.options(given))
  end,
}
