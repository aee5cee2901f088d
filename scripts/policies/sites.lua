-- sites: workers over several sites, in an order of preference or evenly.
--
-- How many there are in all is preserve_n, or what another policy says (demand). The first site is filled to
-- its size, then the next one; of too many, those at the last site end first. Nothing is moved: a worker
-- stays where it is until it ends or its site has become too small, and only new ones go by the order.
--
-- A site where launches fail counts as full with what it has. That is forgotten step by step: each time
-- retry_after has passed without another failure, it may have one worker more, then two, four and so on.

local conf = require "lib.conf"
local demand = require "lib.demand"
local pool = require "lib.pool"
local rules = require "lib.rules"

local site_params = {
  site = { type = "string", required = true, aliases = { "site_name" }, doc = "name of the site" },
  size = { type = "integer", min = -1, default = -1, doc = "most workers there; -1 is no limit" },
  rank = { type = "integer", min = 1, doc = "place in the order of preference" },
}
local endless = 1e9

-- The sites in their order.
local function ranked(given)
  local list, ranks = {}, 0
  for i, map in ipairs(given.sites) do
    local one = conf.fill(site_params, map, "site " .. i)
    ranks = ranks + (one.rank and 1 or 0)
    if one.size < 0 then
      one.size = endless
    end
    list[i] = one
  end
  if ranks == 0 then
    return list
  end
  local sorted = {}
  for _, one in ipairs(list) do
    if one.rank == nil or one.rank > #list or sorted[one.rank] then
      error("the ranks must be 1 to " .. #list .. " without gaps or repeats, or be left out", 0)
    end
    sorted[one.rank] = one
  end
  return sorted
end

-- How many workers a site may have now, by what was learned of its failures. Learned is changed.
local function room(state, one, have, learned, retry_after)
  if state.backoff(one.site) > 0 then
    learned[one.site] = { n = have, at = state.now }
    return math.min(one.size, have), true
  end
  local cap = learned[one.site]
  if cap == nil then
    return one.size, false
  end
  local times = math.floor((state.now - cap.at) / retry_after)
  if times >= 10 or times < 0 then
    learned[one.site] = nil
    return one.size, false
  end
  local more = times == 0 and 0 or 2 ^ (times - 1)
  return math.min(one.size, cap.n + more), cap.n + more < one.size
end

-- Adds n workers: to the first site with room, or always to the one that has the fewest.
local function grow(list, n, even)
  while n > 0 do
    local to
    for _, one in ipairs(list) do
      if one.want < one.room and (to == nil or even and one.want < to.want) then
        to = one
      end
    end
    if to == nil then
      return n
    end
    local add = even and math.max(1, math.floor(n / (2 * #list))) or n
    add = math.min(add, n, to.room - to.want)
    to.want, n = to.want + add, n - add
  end
  return 0
end

-- Takes n workers away: from the last site that has any, or always from the one that has most.
local function shrink(list, n, even)
  while n > 0 do
    local from
    for _, one in ipairs(list) do
      if one.want > 0 and (from == nil or not even or one.want >= from.want) then
        from = one
      end
    end
    if from == nil then
      return
    end
    local take = math.min(even and math.max(1, math.floor(n / (2 * #list))) or n, n, from.want)
    from.want, n = from.want - take, n - take
  end
end

return {
  doc = "Spread workers over several sites, by preference or evenly, and go round those that are full.",

  params = demand.params {
    sites = {
      type = "list", of = "map", min = 1, max = 50, required = true, aliases = { "clouds" },
      doc = "the sites, each {site: NAME} and perhaps size: N (most workers there), rank: 1; without ranks the order of the list counts",
      example = { { site = "own-cloud", size = 40 }, { site = "ec2-us-east-1" } },
    },
    preserve_n = {
      type = "integer", min = 0, unit = "workers", aliases = { "domain_desired_size" },
      doc = "how many workers in all; or give demand",
      example = 10,
    },
    demand = { type = "map", doc = "a policy that says how many in all: {policy: NAME, conf: {...}}" },
    spread = {
      type = "enum", values = { "fill", "even" }, default = "fill",
      doc = "whether sites are filled in their order, or new workers go where the fewest are",
    },
    retry_after = {
      type = "duration", min = 1, max = 86400, default = "10m",
      doc = "a site where launches failed may have more workers again after this long",
    },
    stabilisation = {
      type = "duration", min = 0, max = 86400, default = "0s",
      doc = "shrink only to what every evaluation within this time would have allowed, on top of what demand does",
    },
  },

  validate = function(given)
    local found, seen = {}, {}
    conf.try(found, {}, demand.validate, given)
    if (given.preserve_n == nil) == (given.demand == nil) then
      table.insert(found, { text = "give either preserve_n or demand" })
    end
    local before = #found
    for i, map in ipairs(given.sites) do
      local name = conf.check(site_params, map, { "sites", i }, found).site
      if name and seen[name] then
        table.insert(found, { at = { "sites", i, "site" }, text = "'" .. name .. "' stands twice" })
      elseif name then
        seen[name] = true
      end
    end
    if #found == before then
      conf.try(found, { "sites" }, function()
        ranked(given)
      end)
    end
    if given.demand then
      rules.check(given.demand, { "demand" }, found)
    end
    return found
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, given)
    local memory, list = state.memory, ranked(given)
    memory.learned = memory.learned or {}
    local total = { n = given.preserve_n, text = "preserve_n = " .. (given.preserve_n or 0), rule = "preserve_n" }
    if given.demand then
      local policy, full, where = rules.read(given.demand, "demand")
      memory.demand = memory.demand and memory.demand.policy == given.demand.policy and memory.demand or { policy = given.demand.policy }
      local said = rules.ask(policy, state, full, memory.demand)
      total = { n = said.n, text = where .. " wants " .. said.n .. ": " .. said.text, rule = "demand" }
      for _, alert in ipairs(said.alerts) do
        control.alert(where .. ": " .. alert)
      end
      local kept = said.blind and rules.unseen(state, given, said.n, where)
      if kept then
        kept.text = kept.text .. " (" .. said.text .. ")"
        total = kept
      end
    end

    local most, learned_here = {}, {} -- by site; the pool's placement may bound a site, too
    for _, place in ipairs(state.places()) do
      most[place.site] = math.max(most[place.site] or 0, place.max or endless)
      control.place(place.site, 0)
    end
    local n, have, over, full = demand.settle(control, state, given, total), 0, 0, {}
    for _, one in ipairs(list) do
      local there = state.count { site = one.site, stage = "running" } + state.count { site = one.site, stage = "starting" }
      local learned
      one.room, learned = room(state, one, there, memory.learned, given.retry_after)
      learned_here[one.site] = memory.learned[one.site]
      one.room = math.min(one.room, math.max(there, most[one.site] or endless))
      if most[one.site] == nil then
        one.room = math.min(there, one.size)
        control.alert("site '" .. one.site .. "' is not in the pool's placement, so nothing is launched there")
      elseif learned then
        table.insert(full, one.site)
      end
      one.want = math.min(there, one.size)
      have, over = have + one.want, over + there - one.want
    end
    memory.learned = learned_here
    if over > 0 and n > have then -- as long as the number in all is reached, the host ends nothing anywhere
      n = have
      control.because(pool.plural(over, "worker") .. " too many for the size of a site: they end first, then others follow elsewhere", "size")
    end
    local even = given.spread == "even"
    local short = grow(list, n - have, even)
    shrink(list, have - n, even)

    local parts = {}
    for _, one in ipairs(list) do
      control.place(one.site, one.want)
      table.insert(parts, one.site .. " " .. one.want)
    end
    if #full > 0 then
      control.because("launches failed at " .. table.concat(full, ", ") .. ": counted as full for a while", "full")
    end
    if short > 0 then
      control.because("the sites have room for " .. n - short .. " of " .. n, "room")
      control.alert("the sites have room for fewer workers than are wanted")
    end
    control.because("placed: " .. table.concat(parts, ", "), "place")
    control.scale_to(n - short, pool.options(given))
  end,
}
