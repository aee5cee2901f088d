-- Policies as parts of others: each is asked with a configuration, a memory and a target of its own, and
-- what it would do is taken down instead of done.

local conf = require "lib.conf"
local demand = require "lib.demand"

local rules = {}

-- What can be a part. A policy of your own joins with a line here, in a copy of this file.
rules.policies = {
  npreserving = require "npreserving",
  queuelen = require "queuelen",
  sensor = require "sensor",
  target = require "target",
  schedule = require "schedule",
  finish_by = require "finish_by",
  batch = require "batch",
}

---@class lib.Said what one policy would do
---@field n number
---@field text string the reason that moved its number, after why it could not see, if it could not; else its first one
---@field alerts string[]
---@field blind boolean whether it could not see

local function names()
  local list = {}
  for name in pairs(rules.policies) do
    table.insert(list, name)
  end
  table.sort(list)
  return table.concat(list, ", ")
end

-- All that is wrong with {policy: NAME, conf: {...}}, added to what validate returns. `at` is the way to it.
---@param given table
---@param at (string|integer)[]
---@param found epu.Finding[]
function rules.check(given, at, found)
  for key in pairs(given) do
    if key ~= "policy" and key ~= "conf" then
      table.insert(found, { at = conf.path(at, key), text = "is no key of a rule; there are policy and conf" })
    end
  end
  local policy = rules.policies[given.policy]
  if policy == nil then
    table.insert(found, { at = conf.path(at, "policy"), text = "must be one of " .. names() .. ", got " .. tostring(given.policy) })
    return
  end
  local within = conf.path(at, "conf")
  if given.conf ~= nil and type(given.conf) ~= "table" then
    table.insert(found, { at = within, text = "must be a map of parameters" })
    return
  end
  local before = #found
  local full = conf.check(policy.params, given.conf or {}, within, found)
  if policy.validate and #found == before then -- its rules rely on what is wrong
    conf.try(found, within, policy.validate, full)
  end
end

-- The policy of {policy: NAME, conf: {...}} that was found good, its whole configuration, and what to call it.
---@param given table
---@param where string
---@return table policy, table full, string named
function rules.read(given, where)
  local policy, named = rules.policies[given.policy], where .. " (" .. tostring(given.policy) .. ")"
  return policy, conf.fill(policy.params, given.conf or {}, named), named
end

local function nothing() end

-- Asks a policy. Kept is the rule's own place in memory and changed in place. What a rule wanted last is its
-- target, without what limits took off the whole: it would go up from there while it is refused, and later have
-- to come all the way down.
---@param policy table what the policy's file returns
---@param state epu.State
---@param full table its configuration
---@param kept table
---@return lib.Said
function rules.ask(policy, state, full, kept)
  kept.memory = kept.memory or {}
  local said = { n = math.min(kept.target or state.target, state.target), alerts = {}, blind = false }
  local before, first, last = said.n, nil, nil
  local own = setmetatable({ memory = kept.memory, target = said.n, params = full }, {
    __index = function(_, name)
      return state[name]
    end,
  })
  local control = setmetatable({
    scale_to = function(n)
      said.n = n
    end,
    because = function(reason, rule)
      if type(reason) == "table" then
        reason, rule = reason.text, reason.rule
      end
      first = first or reason
      if rule ~= "heal" then -- which says nothing about the number
        last = reason
      end
      said.blind = said.blind or rule == demand.blind
    end,
    alert = function(words)
      table.insert(said.alerts, words)
    end,
  }, {
    -- Actions and names belong to the pool as a whole; a part of a policy decides on the number only.
    __index = function()
      return nothing
    end,
  })
  policy.decide(control, own, full)
  kept.target = said.n
  said.text = (said.n ~= before and last or first) or "no reason"
  if said.blind and said.text ~= first then
    said.text = first .. "; " .. said.text
  end
  return said
end

-- The proposal while a part can't see, if its answer would shrink the pool: what it would see may be more.
---@param state epu.State
---@param full table the configuration of the whole
---@param n number
---@param where string which part
---@return lib.Proposal?
function rules.unseen(state, full, n, where)
  if demand.limited(full, n) >= demand.limited(full, state.target) then
    return nil
  end
  return {
    n = state.target, text = "not shrunk from " .. state.target .. " to " .. n .. ": " .. where .. " can't see", rule = demand.blind,
  }
end

return rules
