-- Policies as parts of others: each is asked with a configuration, a memory and a target of its own, and
-- what it would do is taken down instead of done.

local conf = require "lib.conf"
local demand = require "lib.demand"

local rules = {}

---@class lib.Said what one policy would do
---@field n number
---@field text string its first reason
---@field alerts string[]
---@field blind boolean whether it could not see

-- The parameters of a policy with the values that a rule gives and the defaults for the rest. What is
-- wrong is an error that begins with `where`.
---@param policy table what the policy's file returns
---@param given table
---@param where string
function rules.conf(policy, given, where)
  local full = conf.fill(policy.params, given, where)
  if policy.validate then
    local ok, problem = pcall(policy.validate, full)
    if not ok then
      error(where .. ": " .. tostring(problem), 0)
    end
  end
  return full
end

local function nothing() end

-- Asks a policy. Kept is the rule's own place in memory and changed in place.
---@param policy table what the policy's file returns
---@param state epu.State
---@param full table its configuration
---@param kept table
---@return lib.Said
function rules.ask(policy, state, full, kept)
  kept.memory = kept.memory or {}
  local said = { n = kept.target or state.target, alerts = {}, blind = false }
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
      said.text = said.text or reason
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
  said.text = said.text or "no reason"
  return said
end

return rules
