-- needy: as many workers as somebody else says, each with a value of its own if wanted.
--
-- Somebody else is a program that calls `epumgmt reconfigure POOL preserve_n=...` whenever its need
-- changes. It may also say which workers it can best do without: of too many, those go first.
--
-- With unique_key, every worker has one of unique_values in the variable of that name, and no two have
-- the same. A worker that fails is replaced by one with the same value.

local demand = require "lib.demand"
local pool = require "lib.pool"

-- The values in the order in which they are kept: held by workers that should stay, then by those that
-- can be done without, then free ones.
local function ordered(state, conf, dispensable)
  local holder = {}
  for w in state.workers() do
    if w.name and w.stage ~= "ending" and (holder[w.name] == nil or holder[w.name] == "can go") then
      holder[w.name] = (w.draining or dispensable[w.id]) and "can go" or "stays"
    end
  end
  local list = {}
  for _, rank in ipairs { "stays", "can go", "free" } do
    for _, value in ipairs(conf.unique_values) do
      if (holder[value] or "free") == rank then
        table.insert(list, value)
      end
    end
  end
  return list
end

-- IDs of workers that can be done without, at most n.
local function going(state, dispensable, n)
  local ids = {}
  for w in state.workers() do
    if #ids < n and dispensable[w.id] and not w.name and not w.protected and (w.stage == "running" or w.stage == "starting") then
      table.insert(ids, w.id)
    end
  end
  return ids
end

return {
  doc = "Keep as many workers as a program outside says, and end those first that it can do without.",

  params = pool.params {
    preserve_n = {
      type = "integer", min = 0, default = 0, unit = "workers", aliases = { "domain_desired_size" },
      doc = "how many workers are needed; meant to be changed by a program",
    },
    retirable = {
      type = "list", of = "string", default = {}, aliases = { "retirable_nodes" },
      doc = "IDs of workers that go first when there are too many; IDs that are not there any more do no harm",
    },
    unique_key = { type = "string", aliases = {}, doc = "variable in which each worker has a value of its own" },
    unique_values = {
      type = "list", of = "string", default = {},
      doc = "the values of unique_key; there are never more workers than values",
    },
  },

  validate = function(conf)
    if (conf.unique_key == nil) ~= (#conf.unique_values == 0) then
      error("unique_key and unique_values belong together: give both or none", 0)
    end
    local seen = {}
    for _, value in ipairs(conf.unique_values) do
      if value == "" or seen[value] then
        error(value == "" and "unique_values has an empty value" or "unique_values has '" .. value .. "' twice", 0)
      end
      seen[value] = true
    end
  end,

  ---@param control epu.Control
  ---@param state epu.State
  decide = function(control, state, conf)
    local n, memory = conf.preserve_n, state.memory
    local dispensable = {}
    for _, id in ipairs(conf.retirable) do
      dispensable[id] = true
    end
    control.because("preserve_n = " .. n, "preserve_n")

    if conf.unique_key then
      local values = ordered(state, conf, dispensable)
      if n > #values then
        local text = "preserve_n is " .. n .. ", but unique_values has only " .. pool.plural(#values, "value")
        control.because(text, "unique_values")
        control.alert(text)
        n = #values
      end
      for i = 1, n do
        control.want(values[i], {
          vars = pool.merge(conf.vars, { [conf.unique_key] = values[i] }), site = conf.site, allocation = conf.allocation,
        })
      end
    elseif #conf.retirable > 0 then
      local kept = n
      if memory.asked and memory.asked < state.target then -- those whom guard rails keep would be replaced, for ever
        kept = math.max(n, state.target)
      end
      local surplus = demand.have(state) - kept
      local ids = going(state, dispensable, surplus)
      if #ids > 0 then
        control.drain(ids, { reason = "can be done without (retirable)" })
        control.because(pool.plural(#ids, "retirable worker") .. " first of " .. surplus .. " too many", "retirable")
      end
    end
    n = pool.within(control, n)
    memory.asked = n
    control.scale_to(n, pool.options(conf))
  end,
}
